//! The people who read: they find a message in their mailbox, and open, click and unsubscribe by what stands in it.

use mail_parser::MessageParser;

use crate::support::{app::Client, engine::until, world::World};

/// Somebody with a mailbox in the mail world.
pub struct Reader<'a> {
    world: &'a World,
    /// Without a key: a mail program knows of none.
    service: Client,
    /// Where its links lead.
    url: &'a str,
    mailbox: String,
}

/// A received message.
pub struct Mail(Vec<u8>);

impl<'a> Reader<'a> {
    /// Who has this address, and gets mail whose links lead to a service at this URL.
    pub fn new(world: &'a World, url: &'a str, address: &str) -> Self {
        let mailbox = address.split('@').next().unwrap().to_owned();
        Self { world, service: Client::new(url, None), url, mailbox }
    }

    /// Waits until there is mail, and reads the oldest.
    pub async fn read(&self) -> Mail {
        until(&format!("{} has mail", self.mailbox), || async { self.n_messages().await > 0 }).await;
        Mail(self.world.inbox(&self.mailbox).await.swap_remove(0))
    }

    /// How many messages have come.
    pub async fn n_messages(&self) -> u32 {
        self.world.n_messages(&self.mailbox, "INBOX").await
    }

    /// Shows the pictures.
    pub async fn open(&self, mail: &Mail) {
        let pixels = self.paths(mail, "src", "/o/");
        let [pixel] = pixels.as_slice() else { panic!("{pixels:?}") };
        let reply = self.service.get(pixel).await.expect(200);
        assert_eq!(reply.header("content-type"), "image/gif");
    }

    /// Follows a link, the first being 0, and expects to be led there.
    pub async fn click(&self, mail: &Mail, n: usize, target: &str) {
        let reply = self.service.get(&self.paths(mail, "href", "/c/")[n]).await.expect(302);
        assert_eq!(reply.header("location"), target);
    }

    /// Presses the mail program's button (RFC 8058), after a scanner has looked at the link.
    pub async fn unsubscribe(&self, mail: &Mail) {
        assert_eq!(mail.header("List-Unsubscribe-Post"), "List-Unsubscribe=One-Click");
        let link = mail.header("List-Unsubscribe");
        let path = link.trim_matches(['<', '>']).strip_prefix(self.url).expect("a link of ours");
        self.service.get(path).await.expect(200);
        let form = ("content-type", "application/x-www-form-urlencoded");
        self.service.send_raw("POST", path, &[form], b"List-Unsubscribe=One-Click".to_vec()).await.expect(200);
    }

    /// The paths of the service's URLs of that kind in the attributes of that name, in their order.
    fn paths(&self, mail: &Mail, attribute: &str, kind: &str) -> Vec<String> {
        let (html, start) = (mail.html(), format!("{attribute}=\"{}", self.url));
        let paths = html.split(&start).skip(1).map(|rest| rest.split('"').next().unwrap().to_owned());
        paths.filter(|path| path.starts_with(kind)).collect()
    }
}

impl Mail {
    /// A header field's value, unfolded.
    pub fn header(&self, name: &str) -> String {
        let message = MessageParser::default().parse(&self.0).unwrap();
        let value = message.header_raw(name).unwrap_or_else(|| panic!("{name} in {:?}", message.headers()));
        value.replace("\r\n", "").trim().to_owned()
    }

    /// The decoded subject.
    pub fn subject(&self) -> String {
        MessageParser::default().parse(&self.0).unwrap().subject().unwrap().to_owned()
    }

    /// The decoded HTML part.
    pub fn html(&self) -> String {
        MessageParser::default().parse(&self.0).unwrap().body_html(0).unwrap().into_owned()
    }

    /// The decoded text part.
    pub fn text(&self) -> String {
        MessageParser::default().parse(&self.0).unwrap().body_text(0).unwrap().into_owned()
    }
}
