//! Finds the plug-in for a scheme: those linked with [`submit!`](crate::submit), or those given by hand.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::sync::Arc;

use crate::{ConnectOptions, Connection, Endpoint, Error, ListenOptions, Listener, Mem, Result, Transport};

/// What a plug-in submits: its schemes and how to make it.
pub struct Plugin {
    /// The schemes of its URLs.
    pub schemes: &'static [&'static str],
    /// Makes the transport; called once for each registry.
    pub build: fn() -> Arc<dyn Transport>,
}

inventory::collect!(Plugin);

/// Registers a [`Plugin`] at link time. A crate that nothing names is not linked: the program says `use my_plugin as _;`.
#[macro_export]
macro_rules! submit {
    ($plugin:expr) => {
        $crate::inventory::submit! { $plugin }
    };
}

/// Transports by scheme.
#[derive(Clone, Default)]
pub struct Registry {
    transports: BTreeMap<String, Arc<dyn Transport>>,
}

impl Registry {
    /// All plug-ins that are linked into this program, and `mem`, which is always there.
    ///
    /// # Errors
    /// `DuplicateScheme` when two claim one scheme.
    pub fn linked() -> Result<Self> {
        let mut registry = Self::default();
        registry.add("mem", Arc::new(Mem::shared()))?;
        for plugin in inventory::iter::<Plugin> {
            let transport = (plugin.build)();
            for scheme in plugin.schemes {
                registry.add(scheme, transport.clone())?;
            }
        }
        Ok(registry)
    }

    /// Adds one by hand.
    ///
    /// # Errors
    /// `DuplicateScheme` when the scheme is taken; the one that was there stays.
    pub fn add(&mut self, scheme: &str, transport: Arc<dyn Transport>) -> Result<()> {
        match self.transports.entry(scheme.to_owned()) {
            Entry::Vacant(place) => {
                place.insert(transport);
                Ok(())
            }
            Entry::Occupied(_) => Err(Error::DuplicateScheme { scheme: scheme.to_owned() }),
        }
    }

    /// The schemes there are, sorted.
    pub fn schemes(&self) -> Vec<String> {
        self.transports.keys().cloned().collect()
    }

    /// The transport for `endpoint`'s scheme.
    ///
    /// # Errors
    /// `UnknownScheme`, which lists those there are.
    pub fn find(&self, endpoint: &Endpoint) -> Result<&Arc<dyn Transport>> {
        self.transports
            .get(endpoint.scheme())
            .ok_or_else(|| Error::UnknownScheme { endpoint: endpoint.to_string(), known: self.schemes() })
    }

    /// Listens at `endpoint` with the transport of its scheme.
    ///
    /// # Errors
    /// As [`Transport::bind`], and `UnknownScheme`.
    pub async fn bind(&self, endpoint: &Endpoint, options: &ListenOptions) -> Result<Box<dyn Listener>> {
        self.find(endpoint)?.bind(endpoint, options).await
    }

    /// Connects to `endpoint` with the transport of its scheme.
    ///
    /// # Errors
    /// As [`Transport::connect`], and `UnknownScheme`.
    pub async fn connect(&self, endpoint: &Endpoint, options: &ConnectOptions) -> Result<Connection> {
        self.find(endpoint)?.connect(endpoint, options).await
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.transports.keys()).finish()
    }
}
