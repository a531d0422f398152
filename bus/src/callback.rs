//! What can be a callback: closures of one, two and three arguments.

use crate::{Message, Subject, blocking};

/// A closure that hears messages: `Fn(Message)`, `Fn(Message, Subject)` or `Fn(Message, Subject, &blocking::Bus)`. It may
/// change what it has captured. The types of its arguments must be written down, since they choose between the three;
/// `Arguments` is only their list.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a callback of the bus",
    label = "not a closure that the bus can call",
    note = "a callback takes `(message: Message)`, `(message: Message, subject: Subject)` or `(message: Message, \
            subject: Subject, bus: &blocking::Bus)`, gives nothing back, and is `Send + 'static`"
)]
pub trait Callback<Arguments>: Send + 'static {
    /// Hears a message.
    fn call(&mut self, message: Message, bus: &blocking::Bus);
}

impl<F: FnMut(Message) + Send + 'static> Callback<(Message,)> for F {
    fn call(&mut self, message: Message, _: &blocking::Bus) {
        self(message);
    }
}

impl<F: FnMut(Message, Subject) + Send + 'static> Callback<(Message, Subject)> for F {
    fn call(&mut self, message: Message, _: &blocking::Bus) {
        let subject = message.subject.clone();
        self(message, subject);
    }
}

impl<F: FnMut(Message, Subject, &blocking::Bus) + Send + 'static> Callback<(Message, Subject, blocking::Bus)> for F {
    fn call(&mut self, message: Message, bus: &blocking::Bus) {
        let subject = message.subject.clone();
        self(message, subject, bus);
    }
}
