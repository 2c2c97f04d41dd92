//! Our value tree as expressions read it, in place.

use api::value::{Map, Value};
use expr::{Data, View};

/// A value. The same in memory, so that a reference to one is a reference to the other.
#[repr(transparent)]
pub(super) struct Tree(Value);

impl Tree {
    pub(super) fn of(value: &Value) -> &Tree {
        // SAFETY: `Tree` is transparent over `Value`, so the layouts, and with the same lifetime the references, agree.
        // The trait and the type are of two crates that may not know each other; the alternative is a copy of each object.
        unsafe { &*std::ptr::from_ref(value).cast::<Tree>() }
    }
}

impl Data for Tree {
    fn view(&self) -> View<'_> {
        match &self.0 {
            Value::Null => View::Null,
            Value::Bool(b) => View::Bool(*b),
            Value::Int(n) => View::Int(*n),
            Value::Float(n) => View::Double(*n),
            Value::Str(text) => View::String(text),
            Value::List(items) => View::List(items.len()),
            Value::Map(map) => View::Map(map.len()),
        }
    }

    fn item(&self, index: usize) -> Option<&dyn Data> {
        self.0.as_list()?.get(index).map(|v| Tree::of(v) as &dyn Data)
    }

    fn member(&self, name: &str) -> Option<&dyn Data> {
        present(self.0.as_map()?, name)
    }

    fn entry(&self, index: usize) -> Option<(&str, &dyn Data)> {
        entry(self.0.as_map()?, index)
    }
}

/// The members of a whole object.
pub(super) struct Root<'a>(pub &'a Map);

impl Data for Root<'_> {
    fn view(&self) -> View<'_> {
        View::Map(self.0.len())
    }

    fn item(&self, _: usize) -> Option<&dyn Data> {
        None
    }

    fn member(&self, name: &str) -> Option<&dyn Data> {
        present(self.0, name)
    }

    fn entry(&self, index: usize) -> Option<(&str, &dyn Data)> {
        entry(self.0, index)
    }
}

/// A member; one that is null is absent.
fn present<'a>(map: &'a Map, name: &str) -> Option<&'a dyn Data> {
    map.get(name).filter(|v| !v.is_null()).map(|v| Tree::of(v) as &dyn Data)
}

fn entry(map: &Map, index: usize) -> Option<(&str, &dyn Data)> {
    map.iter().nth(index).map(|(k, v)| (k.as_str(), Tree::of(v) as &dyn Data))
}
