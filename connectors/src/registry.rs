//! Finds the connector for a scheme: those of this crate, those linked with [`submit!`](crate::submit), and those given
//! by hand.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use sinew_bus::Bus;
use sinew_eventsource::Log;
use sinew_session::ResourceName;

use crate::{Address, Error, Result, Sink, Source};

/// What a connector may use.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// What the connection is called: under this name it remembers how far it is. Without one it remembers nothing.
    pub name: Option<ResourceName>,
    /// The bus, where there is one.
    pub bus: Option<Bus>,
    /// The event log, where there is one.
    pub log: Option<Log>,
}

impl Context {
    /// The bus.
    ///
    /// # Errors
    /// `NoService`.
    pub fn bus(&self, address: &Address) -> Result<Bus> {
        self.bus.clone().ok_or_else(|| Error::NoService { address: address.to_string(), service: "the bus" })
    }

    /// The event log.
    ///
    /// # Errors
    /// `NoService`.
    pub fn log(&self, address: &Address) -> Result<Log> {
        self.log.clone().ok_or_else(|| Error::NoService { address: address.to_string(), service: "the event log" })
    }
}

/// Makes a source for an address; checks the address and touches nothing yet.
pub type MakeSource = fn(&Address, &Context) -> Result<Box<dyn Source>>;
/// Makes a sink for an address; checks the address and touches nothing yet.
pub type MakeSink = fn(&Address, &Context) -> Result<Box<dyn Sink>>;

/// What a connector submits: its scheme and how to make it.
#[derive(Clone, Copy, Debug)]
pub struct Plugin {
    /// The scheme of its addresses.
    pub scheme: &'static str,
    /// What it is, in a few words, with its options; shown by `sinew connect schemes`.
    pub about: &'static str,
    /// How to make a source, where it can be one.
    pub source: Option<MakeSource>,
    /// How to make a sink, where it can be one.
    pub sink: Option<MakeSink>,
}

inventory::collect!(Plugin);

/// Registers a [`Plugin`] at link time. A crate that nothing names is not linked: the program says `use my_connector as _;`.
#[macro_export]
macro_rules! submit {
    ($plugin:expr) => {
        $crate::inventory::submit! { $plugin }
    };
}

/// Connectors by scheme.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    plugins: BTreeMap<String, Plugin>,
}

impl Registry {
    /// Those of this crate, and all that are linked into this program.
    ///
    /// # Errors
    /// `DuplicateScheme` when two claim one scheme.
    pub fn linked() -> Result<Self> {
        let mut registry = Self::default();
        for plugin in crate::BUILT_IN.iter().chain(inventory::iter::<Plugin>) {
            registry.add(*plugin)?;
        }
        Ok(registry)
    }

    /// Adds one by hand.
    ///
    /// # Errors
    /// `DuplicateScheme` when the scheme is taken; the one that was there stays.
    pub fn add(&mut self, plugin: Plugin) -> Result<()> {
        match self.plugins.entry(plugin.scheme.to_owned()) {
            Entry::Vacant(place) => {
                place.insert(plugin);
                Ok(())
            }
            Entry::Occupied(_) => Err(Error::DuplicateScheme { scheme: plugin.scheme.to_owned() }),
        }
    }

    /// All there are, by scheme.
    pub fn plugins(&self) -> impl Iterator<Item = &Plugin> {
        self.plugins.values()
    }

    /// The source at this address.
    ///
    /// # Errors
    /// `UnknownScheme`, which lists those there are; `WrongWay`; what the connector has against the address.
    pub fn source(&self, address: &Address, context: &Context) -> Result<Box<dyn Source>> {
        match self.find(address)?.source {
            Some(make) => make(address, context),
            None => Err(wrong_way(address, "source", "sink")),
        }
    }

    /// The sink at this address.
    ///
    /// # Errors
    /// As [`source`](Self::source).
    pub fn sink(&self, address: &Address, context: &Context) -> Result<Box<dyn Sink>> {
        match self.find(address)?.sink {
            Some(make) => make(address, context),
            None => Err(wrong_way(address, "sink", "source")),
        }
    }

    fn find(&self, address: &Address) -> Result<&Plugin> {
        self.plugins.get(address.scheme()).ok_or_else(|| Error::UnknownScheme {
            address: address.to_string(),
            known: self.plugins.keys().cloned().collect(),
        })
    }
}

fn wrong_way(address: &Address, role: &'static str, other: &'static str) -> Error {
    Error::WrongWay { address: address.to_string(), scheme: address.scheme().to_owned(), role, other }
}
