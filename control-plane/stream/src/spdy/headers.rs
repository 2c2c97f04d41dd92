//! Header blocks: names and values, compressed with one zlib stream per direction and a dictionary of the specification.

use super::Error;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use std::sync::LazyLock;

/// Names (lower case) and values, in order.
pub type Headers = Vec<(String, String)>;

/// The most that one block may unfold to.
const LARGEST_BLOCK: usize = 64 << 10;

/// Section 2.6.10.1: words with a length before each, then text without.
static DICTIONARY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    const WORDS: &str = "options,head,post,put,delete,trace,accept,accept-charset,accept-encoding,accept-language,\
        accept-ranges,age,allow,authorization,cache-control,connection,content-base,content-encoding,content-language,\
        content-length,content-location,content-md5,content-range,content-type,date,etag,expect,expires,from,host,\
        if-match,if-modified-since,if-none-match,if-range,if-unmodified-since,last-modified,location,max-forwards,\
        pragma,proxy-authenticate,proxy-authorization,range,referer,retry-after,server,te,trailer,transfer-encoding,\
        upgrade,user-agent,vary,via,warning,www-authenticate,method,get,status,200 OK,version,HTTP/1.1,url,public,\
        set-cookie,keep-alive,origin";
    const TEXT: &str = "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505\
        203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized\
        403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable\
        Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT\
        chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,\
        text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";
    let lengths = |w: &str| u32::try_from(w.len()).unwrap_or(0).to_be_bytes();
    let mut out: Vec<u8> = WORDS.split(',').flat_map(|w| [&lengths(w), w.as_bytes()].concat()).collect();
    out.extend_from_slice(TEXT.as_bytes());
    out
});

/// Unfolds the header blocks of one direction.
pub struct Inflater(Decompress);

impl Default for Inflater {
    fn default() -> Self {
        Inflater(Decompress::new(true))
    }
}

impl Inflater {
    pub fn headers(&mut self, block: &[u8]) -> Result<Headers, Error> {
        if block.is_empty() {
            return Ok(Vec::new());
        }
        parse(&self.inflate(block)?)
    }

    fn inflate(&mut self, block: &[u8]) -> Result<Vec<u8>, Error> {
        let mut out = Vec::with_capacity(1024);
        let start = self.0.total_in();
        loop {
            let used = usize::try_from(self.0.total_in() - start).map_err(|_| Error::Compression)?;
            let (seen, had) = (block.get(used..).unwrap_or(&[]), out.len());
            match self.0.decompress_vec(seen, &mut out, FlushDecompress::Sync) {
                Ok(Status::StreamEnd) => return Err(Error::Compression),
                Ok(_) => {}
                // The first block names its dictionary and stops.
                Err(e) if e.needs_dictionary().is_some() => {
                    self.0.set_dictionary(&DICTIONARY).map_err(|_| Error::Compression)?;
                    continue;
                }
                Err(_) => return Err(Error::Compression),
            }
            let used = usize::try_from(self.0.total_in() - start).map_err(|_| Error::Compression)?;
            if used >= block.len() && out.len() < out.capacity() {
                return Ok(out);
            }
            if used < block.len() && out.len() == had && out.len() < out.capacity() {
                return Err(Error::Compression);
            }
            if out.len() >= LARGEST_BLOCK {
                return Err(Error::TooLong(out.len()));
            }
            out.reserve(1024);
        }
    }
}

fn parse(mut block: &[u8]) -> Result<Headers, Error> {
    fn number(block: &mut &[u8]) -> Result<usize, Error> {
        let (head, rest) = block.split_first_chunk::<4>().ok_or(Error::Malformed("header"))?;
        *block = rest;
        Ok(u32::from_be_bytes(*head) as usize)
    }
    fn text(block: &mut &[u8]) -> Result<String, Error> {
        let len = number(block)?;
        let (head, rest) = block.split_at_checked(len).ok_or(Error::Malformed("header"))?;
        *block = rest;
        String::from_utf8(head.to_vec()).map_err(|_| Error::Malformed("header"))
    }
    let count = number(&mut block)?;
    // Each pair takes eight bytes at the least, whatever the count claims.
    let mut out = Vec::with_capacity(count.min(block.len() / 8));
    for _ in 0..count {
        out.push((text(&mut block)?, text(&mut block)?));
    }
    Ok(out)
}

/// Folds the header blocks of one direction.
pub struct Deflater {
    zlib: Compress,
    prepared: bool,
}

impl Default for Deflater {
    fn default() -> Self {
        Deflater { zlib: Compress::new(Compression::default(), true), prepared: false }
    }
}

impl Deflater {
    pub fn headers(&mut self, headers: &Headers) -> Result<Vec<u8>, Error> {
        if !self.prepared {
            self.zlib.set_dictionary(&DICTIONARY).map_err(|_| Error::Compression)?;
            self.prepared = true;
        }
        let mut plain = length(headers.len()).to_vec();
        for text in headers.iter().flat_map(|(name, value)| [name, value]) {
            plain.extend(length(text.len()));
            plain.extend(text.as_bytes());
        }
        let mut out = Vec::with_capacity(plain.len() + 64);
        let start = self.zlib.total_in();
        loop {
            let used = usize::try_from(self.zlib.total_in() - start).map_err(|_| Error::Compression)?;
            let rest = plain.get(used..).unwrap_or(&[]);
            self.zlib.compress_vec(rest, &mut out, FlushCompress::Sync).map_err(|_| Error::Compression)?;
            let used = usize::try_from(self.zlib.total_in() - start).map_err(|_| Error::Compression)?;
            if used == plain.len() && out.len() < out.capacity() {
                return Ok(out);
            }
            out.reserve(256);
        }
    }
}

fn length(n: usize) -> [u8; 4] {
    u32::try_from(n).unwrap_or(u32::MAX).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dictionary_is_the_specification_s() {
        assert_eq!(DICTIONARY.len(), 1423);
        let block = Deflater::default().headers(&vec![]).expect("folded");
        // A zlib head with "a dictionary follows", and the dictionary's checksum.
        assert_eq!(block[2..6], [0xe3, 0xc6, 0xa7, 0xc2]);
    }

    #[test]
    fn blocks_of_one_direction_share_their_state() {
        let (mut fold, mut unfold) = (Deflater::default(), Inflater::default());
        for i in 0..50 {
            let headers: Headers = (0..i).map(|j| (format!("name-{j}"), format!("value {i} {j}"))).collect();
            let block = fold.headers(&headers).expect("folded");
            assert_eq!(unfold.headers(&block).expect("unfolded"), headers);
        }
    }
}
