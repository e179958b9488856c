//! The server's side of every login.

use aws_lc_rs::{digest, hmac, pbkdf2};
use base64::{Engine, engine::general_purpose::STANDARD};
use postrider::keyring::cram_md5;

use super::{
    conversation::{Conversation, End, Told},
    script::Step,
};

const SALT: &[u8] = b"salt of the peer";
const N_ITERATIONS: u32 = 4096;

impl Conversation {
    pub(super) async fn log_in(&mut self, line: &str) -> Result<(), End> {
        if !matches!(self.act(Step::Auth, line).await?, Told::Proceed) {
            return Ok(());
        }
        let (user, secret) = self.script.login.clone().unwrap_or_default();
        let mut words = line.split(' ').skip(1);
        let (mechanism, initial) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let is_right = match mechanism {
            "PLAIN" => decode(initial) == format!("\0{user}\0{secret}"),
            "LOGIN" => {
                // "Username:" and "Password:"
                let given_user = self.ask("334 VXNlcm5hbWU6").await?;
                let given_secret = self.ask("334 UGFzc3dvcmQ6").await?;
                (given_user, given_secret) == (user, secret)
            }
            "CRAM-MD5" => {
                let challenge = "<1896.697170952@peer.test>";
                let answer = self.ask(&format!("334 {}", STANDARD.encode(challenge))).await?;
                answer == format!("{user} {}", cram_md5(secret.as_bytes(), challenge.as_bytes()))
            }
            "SCRAM-SHA-256" => self.verify_proof(&decode(initial), &user, &secret).await?,
            "XOAUTH2" if decode(initial) == format!("user={user}\u{1}auth=Bearer {secret}\u{1}\u{1}") => true,
            "XOAUTH2" => {
                let challenge = STANDARD.encode(r#"{"status":"401"}"#);
                if !self.ask(&format!("334 {challenge}")).await?.is_empty() {
                    self.complain("XOAUTH2's challenge was not answered with an empty line");
                }
                false
            }
            _ => false,
        };
        self.is_logged_in |= is_right;
        self.link.reply(if is_right { "235 2.7.0 Welcome" } else { "535 5.7.8 Wrong user or password" });
        Ok(())
    }

    /// The server's side of SCRAM-SHA-256 (RFC 5802 §3), written for itself.
    async fn verify_proof(&mut self, first: &str, user: &str, secret: &str) -> Result<bool, End> {
        let Some(bare) = first.strip_prefix("n,,") else { return Ok(false) };
        let Some((name, nonce)) = bare.split_once(",r=") else { return Ok(false) };
        let challenge = format!("r={nonce}peer,s={},i={N_ITERATIONS}", STANDARD.encode(SALT));
        let last = self.ask(&format!("334 {}", STANDARD.encode(&challenge))).await?;
        let Some((without_proof, proof)) = last.split_once(",p=") else { return Ok(false) };
        let mut salted = [0; 32];
        let n_iterations = N_ITERATIONS.try_into().unwrap();
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, n_iterations, SALT, secret.as_bytes(), &mut salted);
        let mac = |key: &[u8], text: &str| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes());
        let dialogue = format!("{bare},{challenge},{without_proof}");
        let client_key = mac(&salted, "Client Key");
        let stored = digest::digest(&digest::SHA256, client_key.as_ref());
        let expected: Vec<u8> = mac(stored.as_ref(), &dialogue)
            .as_ref()
            .iter()
            .zip(client_key.as_ref())
            .map(|(signature, key)| signature ^ key)
            .collect();
        if name != format!("n={user}")
            || without_proof != format!("c=biws,r={nonce}peer")
            || STANDARD.decode(proof).ok() != Some(expected)
        {
            return Ok(false);
        }
        let signature = mac(mac(&salted, "Server Key").as_ref(), &dialogue);
        let answer = self.ask(&format!("334 {}", STANDARD.encode(format!("v={}", STANDARD.encode(signature))))).await?;
        if !answer.is_empty() {
            self.complain("SCRAM's last challenge was not answered with an empty line");
        }
        Ok(answer.is_empty())
    }

    async fn ask(&mut self, challenge: &str) -> Result<String, End> {
        self.link.reply(challenge);
        let line = self.read_command().await?;
        match self.act(Step::Auth, &line).await? {
            Told::Proceed => Ok(decode(&line)),
            _ => Err(End),
        }
    }
}

fn decode(text: &str) -> String {
    STANDARD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default()
}
