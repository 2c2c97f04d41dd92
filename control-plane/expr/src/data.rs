//! The world outside: how an evaluation reads an object without converting it.

/// One node of somebody's value tree.
pub trait Data {
    /// What the node is.
    fn view(&self) -> View<'_>;

    /// The item of a list.
    fn item(&self, index: usize) -> Option<&dyn Data>;

    /// The member of a map.
    fn member(&self, name: &str) -> Option<&dyn Data>;

    /// The member of a map by its place, for walking over all of them.
    fn entry(&self, index: usize) -> Option<(&str, &dyn Data)>;
}

/// What a node is. Lists and maps tell their length.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum View<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    String(&'a str),
    List(usize),
    Map(usize),
}
