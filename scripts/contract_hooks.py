"""What schemathesis has to know beside openapi.yaml: a mail message is sent as the bytes that it is."""

import schemathesis

schemathesis.serializer.alias("message/rfc822", "application/octet-stream")
