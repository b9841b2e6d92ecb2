//! Somebody in the lab's room, who pulls cables and puts them in again: into the same phone, another port, another phone.

use super::Lab;
use super::phone::{Extra, PhoneMaterial, VirtualPhone};
use std::time::Duration;

/// How often somebody looks at the cables.
const BLINK: Duration = Duration::from_millis(50);

impl Lab {
    /// Has somebody put the first phone's cable in again, so long after a fault pulled it or took its power.
    pub(super) fn help_up(&mut self, after: Duration) {
        let Some((bus_id, phone)) = self.phones.first().cloned() else { return };
        let cable = self.exporter.cable(&bus_id);
        self.helpers.spawn(async move {
            loop {
                tokio::time::sleep(BLINK).await;
                if !phone.has_power() {
                    cable.pull();
                }
                if !cable.is_in() {
                    tokio::time::sleep(after).await;
                    phone.power_on();
                    cable.replug();
                }
            }
        });
    }

    /// Has somebody put the first phone's cable into another port, so long after a fault pulled it.
    pub(super) fn move_up(&mut self, to: &str, after: Duration) {
        let Some((bus_id, _)) = self.phones.first().cloned() else { return };
        let (from, to) = (self.exporter.cable(&bus_id), self.exporter.cable(to));
        self.helpers.spawn(async move {
            while from.is_in() {
                tokio::time::sleep(BLINK).await;
            }
            tokio::time::sleep(after).await;
            if let Some(device) = from.take() {
                to.plug(device);
            }
        });
    }

    /// Has somebody put another phone onto the first one's cable, so long after a fault pulled it.
    pub(super) fn swap_up(&mut self, another: PhoneMaterial, after: Duration) {
        let Some((bus_id, _)) = self.phones.first().cloned() else { return };
        let (cable, another) = (self.exporter.cable(&bus_id), VirtualPhone::new(another));
        self.helpers.spawn(async move {
            while cable.is_in() {
                tokio::time::sleep(BLINK).await;
            }
            tokio::time::sleep(after).await;
            cable.plug(Box::new(another.device()));
        });
    }

    /// Plugs a phone in that has the first one's serial number, in the place of the second phone where there is one.
    pub(super) fn plug_twin(&mut self) {
        let mut twin = self.material(99);
        twin.serial = self.phone().material().serial;
        let factory = self.maker.factory(&twin.model, &twin.serial, twin.mac);
        twin.factory = Some((factory.chain, factory.key));
        self.plug_second(twin);
    }

    /// Plugs a phone in that says of itself all that the first one says.
    pub(super) fn plug_double(&mut self) {
        let double = self.double();
        self.plug_second(double);
    }

    /// A phone that says of itself all that the first one says: serial number, MAC address and device UUID. Its keys are its
    /// own, and its maker vouches for it.
    pub fn double(&self) -> PhoneMaterial {
        let mut double = self.phone().material();
        let factory = self.maker.factory(&double.model, &double.serial, double.mac);
        double.factory = Some((factory.chain, factory.key));
        double
    }

    fn plug_second(&mut self, material: PhoneMaterial) {
        match self.phones.get(1).map(|(bus_id, _)| bus_id.clone()) {
            Some(bus_id) => drop(self.replace(&bus_id, material)),
            None => drop(self.plug(material)),
        }
    }

    /// Has the first phone bring an interface that it should not, and plugs it in again.
    pub fn bring(&mut self, extra: Extra) {
        let Some((bus_id, phone)) = self.phones.first() else { return };
        phone.bring(extra);
        self.exporter.plug(bus_id, Box::new(phone.device()));
    }

    /// Takes the first phone's serial number away, and plugs it in again.
    pub(super) fn take_the_serial_away(&mut self) {
        let Some((bus_id, phone)) = self.phones.first() else { return };
        phone.rebuild(|material| material.serial.clear());
        self.exporter.plug(bus_id, Box::new(phone.device()));
    }
}
