//! Who a container's process runs as, from the image's own `/etc/passwd` and `/etc/group`. Pure.

/// A resolved user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
    pub home: String,
}

/// What was asked for: the pod's security context, and the image's `user[:group]`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked<'a> {
    pub uid: Option<i64>,
    pub gid: Option<i64>,
    pub name: &'a str,
    pub image: &'a str,
    pub supplemental: &'a [i64],
    /// Without the groups that the image's `/etc/group` has the user in.
    pub strict: bool,
}

struct Entry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

/// Resolves a user. The pod's numbers win over its name, and that over the image's.
pub fn resolve(asked: Asked<'_>, passwd: &str, group: &str) -> Result<User, String> {
    let (wanted, wanted_group) = match (asked.uid, asked.name, asked.image) {
        (Some(uid), _, _) => (uid.to_string(), String::new()),
        (None, "", image) => match image.split_once(':') {
            Some((user, group)) => (user.to_owned(), group.to_owned()),
            None => (image.to_owned(), String::new()),
        },
        (None, name, _) => (name.to_owned(), String::new()),
    };
    let entry = match wanted.as_str() {
        "" => find(passwd, |entry| entry.uid == 0),
        wanted => match wanted.parse::<u32>() {
            Ok(uid) => find(passwd, |entry| entry.uid == uid),
            Err(_) => Some(
                find(passwd, |entry| entry.name == wanted)
                    .ok_or_else(|| format!("the image has no user {wanted:?} in its /etc/passwd"))?,
            ),
        },
    };
    let uid = match &entry {
        Some(entry) => entry.uid,
        None => wanted.parse().unwrap_or(0),
    };
    let gid = match asked.gid {
        Some(gid) => number("runAsGroup", gid)?,
        None if !wanted_group.is_empty() => match wanted_group.parse() {
            Ok(gid) => gid,
            Err(_) => groups(group)
                .find(|(name, ..)| *name == wanted_group)
                .map(|(_, gid, _)| gid)
                .ok_or_else(|| format!("the image has no group {wanted_group:?} in its /etc/group"))?,
        },
        None => entry.as_ref().map_or(0, |entry| entry.gid),
    };
    let mut all = Vec::new();
    if let Some(entry) = entry.as_ref().filter(|_| !asked.strict) {
        all.extend(
            groups(group).filter(|(.., members)| members.split(',').any(|m| m == entry.name)).map(|(_, gid, _)| gid),
        );
    }
    for extra in asked.supplemental {
        all.push(number("supplementalGroups", *extra)?);
    }
    all.sort_unstable();
    all.dedup();
    let home = entry.map_or("/", |entry| if entry.home.is_empty() { "/" } else { entry.home }).to_owned();
    Ok(User { uid, gid, groups: all, home })
}

fn number(field: &str, value: i64) -> Result<u32, String> {
    u32::try_from(value).map_err(|_| format!("{field}: {value} is not a number a user or group can have"))
}

fn find<'a>(passwd: &'a str, wanted: impl Fn(&Entry<'a>) -> bool) -> Option<Entry<'a>> {
    passwd
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            Some(Entry {
                name: fields.first()?,
                uid: fields.get(2)?.parse().ok()?,
                gid: fields.get(3)?.parse().ok()?,
                home: fields.get(5).unwrap_or(&""),
            })
        })
        .find(wanted)
}

fn groups(group: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    group.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        Some((*fields.first()?, fields.get(2)?.parse().ok()?, *fields.get(3).unwrap_or(&"")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:44:web:/var/www:/bin/false\nbroken line\n";
    const GROUP: &str = "root:x:0:\nwww:x:44:\nlogs:x:50:web,root\n";

    #[test]
    fn the_pod_wins_over_the_image_and_names_come_from_the_image() {
        let user =
            |uid, gid, groups: &[u32], home: &str| Ok(User { uid, gid, groups: groups.to_vec(), home: home.into() });
        let image = |image| Asked { image, ..Asked::default() };
        let cases = [
            (Asked::default(), user(0, 0, &[50], "/root")),
            (image("web"), user(33, 44, &[50], "/var/www")),
            (image("web:logs"), user(33, 50, &[50], "/var/www")),
            (image("1000:7"), user(1000, 7, &[], "/")),
            (image("nobody"), Err("the image has no user \"nobody\" in its /etc/passwd".into())),
            (image("web:none"), Err("the image has no group \"none\" in its /etc/group".into())),
            (Asked { uid: Some(33), ..image("root") }, user(33, 44, &[50], "/var/www")),
            (Asked { uid: Some(5), gid: Some(6), supplemental: &[9, 8, 9], ..image("web") }, user(5, 6, &[8, 9], "/")),
            (Asked { strict: true, supplemental: &[9], ..image("web") }, user(33, 44, &[9], "/var/www")),
            (Asked { name: "web", ..image("root") }, user(33, 44, &[50], "/var/www")),
            (
                Asked { gid: Some(-1), ..image("web") },
                Err("runAsGroup: -1 is not a number a user or group can have".into()),
            ),
        ];
        for (asked, expected) in cases {
            assert_eq!(resolve(asked, PASSWD, GROUP), expected, "for {asked:?}");
        }
    }
}
