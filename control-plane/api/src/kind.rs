//! A kind is data with defaults: built-in kinds are constants, and a CustomResourceDefinition builds the same
//! [`Kind`] at run time.

pub mod custom;

use crate::object::Object;
use crate::schema::{self, Checked};
use crate::status::FieldError;
use crate::value::Value;
use custom::Custom;
use std::borrow::Cow;
use std::sync::Arc;

type Text = Cow<'static, str>;

/// How a kind is called. `group` is empty for core.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    pub group: Text,
    pub version: Text,
    pub kind: Text,
    pub plural: Text,
    pub singular: Text,
    pub short: Cow<'static, [Text]>,
    pub categories: Cow<'static, [Text]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Namespaced,
    Cluster,
}

/// One subresource, as discovery shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subresource {
    pub name: Text,
    /// Group, version and kind of its bodies, where they differ from the parent's (`autoscaling/v1 Scale`).
    pub group: Text,
    pub version: Text,
    pub kind: Text,
    pub verbs: Cow<'static, [Text]>,
}

/// One column of the kind's Table.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    pub name: Text,
    /// `string`, `integer`, `number`, `boolean`, `date`.
    pub kind: Text,
    pub format: Text,
    pub priority: i64,
    pub description: Text,
}

/// What the rules of a kind may know besides the object.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The time of the request, RFC 3339 with seconds.
    pub now: &'a str,
    /// `""` for the object itself, else the subresource that is written (`status`).
    pub subresource: &'a str,
}

/// Rules of a kind that this crate cannot evaluate (expressions): whoever can hangs them on the kind. They run last.
pub trait Rules: std::fmt::Debug + Send + Sync {
    /// Adds what is wrong with an object, as a new one or as a change of `old`; `errors` holds what was found before.
    fn check(&self, object: &Object, old: Option<&Object>, errors: &mut Vec<FieldError>);
}

/// Everything the apiserver must know of a kind. On a write run in this order: [`Kind::read`] → [`Kind::default`] →
/// `prepare_*` → `validate_*`. The functions are a built-in kind's own; callers use the methods, which ask
/// [`Kind::custom`] where that is set.
#[derive(Debug, Clone)]
pub struct Kind {
    pub names: Names,
    pub scope: Scope,
    pub verbs: Cow<'static, [Text]>,
    pub subresources: Cow<'static, [Subresource]>,
    pub columns: Cow<'static, [Column]>,
    /// The type in the schema tables (`io.k8s.api.core.v1.Pod`).
    pub type_name: Text,
    /// The status is written only through the subresource, and the rest not through it.
    pub has_status: bool,
    /// `metadata.generation` starts at 1 and grows when anything but metadata and status changes.
    pub has_generation: bool,
    /// PUT of an absent object creates it.
    pub create_on_update: bool,
    /// PUT without a resourceVersion is taken as "whatever is there".
    pub unconditional_update: bool,
    /// Fills in what the client left out.
    pub default: fn(&mut Object),
    /// Brings a new object into its first shape (drops the status, sets what only the server sets).
    pub prepare_create: fn(&mut Object, Context<'_>),
    /// The same for an update; `(new, old)`.
    pub prepare_update: fn(&mut Object, &Object, Context<'_>),
    pub validate: fn(&Object, &mut Vec<FieldError>),
    /// What may not change; `(new, old)`. `validate` runs as well.
    pub validate_update: fn(&Object, &Object, Context<'_>, &mut Vec<FieldError>),
    /// What clients are warned of in `Warning` headers.
    pub warnings: fn(&Object) -> Vec<String>,
    /// The object's values of the fields that field selectors may name, besides `metadata.name` and `metadata.namespace`.
    pub selectable: fn(&Object) -> Vec<(&'static str, String)>,
    /// The names of those fields.
    pub selectable_fields: &'static [&'static str],
    /// The cells of the object's row, one per column; ages are filled in from `now` (seconds since the epoch).
    pub cells: fn(&Kind, &Object, i64) -> Vec<Value>,
    /// What a kind that was defined at run time has instead of the functions; `None` for built-ins.
    pub custom: Option<Arc<Custom>>,
    pub rules: Option<Arc<dyn Rules>>,
}

impl Kind {
    /// A kind without rules of its own: everything is namespaced, stored, and free to change.
    pub const PLAIN: Kind = Kind {
        names: Names {
            group: Cow::Borrowed(""),
            version: Cow::Borrowed(""),
            kind: Cow::Borrowed(""),
            plural: Cow::Borrowed(""),
            singular: Cow::Borrowed(""),
            short: Cow::Borrowed(&[]),
            categories: Cow::Borrowed(&[]),
        },
        scope: Scope::Namespaced,
        verbs: Cow::Borrowed(ALL_VERBS),
        subresources: Cow::Borrowed(&[]),
        columns: Cow::Borrowed(&[]),
        type_name: Cow::Borrowed(""),
        has_status: false,
        has_generation: false,
        create_on_update: false,
        unconditional_update: true,
        default: |_| {},
        prepare_create: |_, _| {},
        prepare_update: |_, _, _| {},
        validate: |_, _| {},
        validate_update: |_, _, _, _| {},
        warnings: |_| Vec::new(),
        selectable: |_| Vec::new(),
        selectable_fields: &[],
        cells: crate::table::plain_cells,
        custom: None,
        rules: None,
    };

    /// The schema pass over an object that came in or was stored: unknown fields go, values take their stored form.
    pub fn check(&self, object: &mut Object) -> Checked {
        match &self.custom {
            None => schema::check(&self.type_name, object),
            Some(custom) => custom.check(object),
        }
    }

    /// The schema pass over an object as a client sent it; empty lists and maps of built-in types stay, see
    /// [`schema::read`].
    pub fn read(&self, object: &mut Object) -> Checked {
        match &self.custom {
            None => schema::read(&self.type_name, object),
            Some(custom) => custom.check(object),
        }
    }

    /// Drops the nulls that a client sent where none may be: what is applied keeps them.
    pub fn drop_nulls(&self, object: &mut Object) {
        if let Some(custom) = &self.custom {
            crate::structural::drop_nulls(&custom.schema, &mut object.0);
        }
    }

    /// Fills in what the client left out.
    pub fn default(&self, object: &mut Object) {
        match &self.custom {
            None => (self.default)(object),
            Some(custom) => custom.default(object),
        }
    }

    /// Brings a new object into its first shape.
    pub fn prepare_create(&self, object: &mut Object, context: Context<'_>) {
        match &self.custom {
            None => (self.prepare_create)(object, context),
            Some(_) if self.has_status => drop(object.0.remove("status")),
            Some(_) => {}
        }
    }

    /// The same for an update; `(new, old)`.
    pub fn prepare_update(&self, new: &mut Object, old: &Object, context: Context<'_>) {
        match &self.custom {
            None => (self.prepare_update)(new, old, context),
            Some(_) => custom::keep_metadata(new, old, context),
        }
    }

    /// What is wrong with a new object, which takes the form in which it is stored.
    pub fn validate_create(&self, object: &mut Object) -> Vec<FieldError> {
        let mut errors = self.judge(object);
        match &self.custom {
            None => {}
            Some(custom) => custom.validate(object, None, &mut errors),
        }
        if let Some(rules) = &self.rules {
            rules.check(object, None, &mut errors);
        }
        errors
    }

    /// What is wrong with a change; `new` takes the form in which it is stored.
    pub fn validate_update(&self, new: &mut Object, old: &Object, context: Context<'_>) -> Vec<FieldError> {
        let mut errors = self.judge(new);
        match &self.custom {
            None => (self.validate_update)(new, old, context, &mut errors),
            Some(custom) => custom.validate(new, Some(old), &mut errors),
        }
        if let Some(rules) = &self.rules {
            rules.check(new, Some(old), &mut errors);
        }
        errors
    }

    /// What a built-in kind's own rules find. They see empty lists and maps as they were sent, which [`Kind::check`]
    /// drops; what a change may not touch is compared without them.
    fn judge(&self, object: &mut Object) -> Vec<FieldError> {
        let mut errors = Vec::new();
        if self.custom.is_none() {
            schema::judged(&self.type_name, object);
            (self.validate)(object, &mut errors);
        }
        self.check(object);
        errors
    }

    /// What clients are warned of in `Warning` headers.
    pub fn warnings(&self, object: &Object) -> Vec<String> {
        (self.warnings)(object)
    }

    /// The object's values of the fields that field selectors may name, besides its name and namespace.
    pub fn selectable(&self, object: &Object) -> Vec<(Text, String)> {
        match &self.custom {
            None => (self.selectable)(object).into_iter().map(|(name, value)| (Cow::Borrowed(name), value)).collect(),
            Some(custom) => custom.selectable(object),
        }
    }

    /// The names of those fields.
    pub fn selectable_fields(&self) -> Vec<&str> {
        match &self.custom {
            None => self.selectable_fields.to_vec(),
            Some(custom) => custom.selectable.iter().map(|(name, _)| name.as_str()).collect(),
        }
    }

    /// The cells of the object's row.
    pub fn cells(&self, object: &Object, now: i64) -> Vec<Value> {
        match &self.custom {
            None => (self.cells)(self, object, now),
            Some(custom) => custom.cells(&self.columns, object, now),
        }
    }

    /// The kind of a list of such objects.
    pub fn list_kind(&self) -> Cow<'_, str> {
        match &self.custom {
            None => format!("{}List", self.names.kind).into(),
            Some(custom) => custom.list_kind.as_str().into(),
        }
    }

    /// `v1`, or `apps/v1`.
    pub fn api_version(&self) -> String {
        match self.names.group.is_empty() {
            true => self.names.version.to_string(),
            false => format!("{}/{}", self.names.group, self.names.version),
        }
    }

    /// A subresource by its name.
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|s| s.name == name)
    }
}

/// The verbs of a kind that is stored.
pub const ALL_VERBS: &[Text] = &[
    Cow::Borrowed("create"),
    Cow::Borrowed("delete"),
    Cow::Borrowed("deletecollection"),
    Cow::Borrowed("get"),
    Cow::Borrowed("list"),
    Cow::Borrowed("patch"),
    Cow::Borrowed("update"),
    Cow::Borrowed("watch"),
];
