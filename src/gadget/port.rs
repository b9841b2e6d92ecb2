//! The board's USB device port: one gadget with the tether interface, by configfs and FunctionFS.
//!
//! Control requests and the state of the bus come from endpoint 0, frames go over the two bulk endpoints, each served by
//! a task of its own ([`pipes`]). A RESET is answered when both pipes are empty, so that nothing of before it is left.

mod pipes;

use crate::device::{INTERFACE_GUID, Phone, Socket};
use crate::phone::tether::frames::{
    INTERFACE_CLASS, INTERFACE_PROTOCOL, INTERFACE_SUBCLASS, REQUEST_RESET, REQUEST_STATUS,
};
use pipes::{InPipe, OutPipe};
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::task::block_in_place;
use usb_gadget::function::custom::{
    CtrlReceiver, CtrlSender, Custom, Endpoint, EndpointDirection, EndpointReceiver, EndpointSender, Event, Interface,
    OsExtCompat, OsExtProp,
};
use usb_gadget::{Class, Config, Gadget, Id, OsDescriptor, RegGadget, Speed, Strings, Udc};

/// What this program's gadgets are called in configfs, with the port's name behind it.
const NAME: &str = "tethercert-";

/// Why there is no phone on the port.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// The kernel drives none.
    #[error("this computer has no USB device port that its kernel drives")]
    None,
    /// There are others.
    #[error("there is no USB device port {wanted}; there is {}", there.join(", "))]
    Unknown {
        /// What was asked for.
        wanted: String,
        /// What there is.
        there: Vec<String>,
    },
    /// There is more than one and nobody said which.
    #[error("there are several USB device ports: {}", .0.join(", "))]
    Several(Vec<String>),
    /// Another gadget is bound to it.
    #[error("the USB device port {0} serves another gadget")]
    Busy(String),
    /// The gadget cannot be made.
    #[error("the phone cannot be put on the USB device port {port}")]
    Setup {
        /// Which port.
        port: String,
        /// What the system says.
        source: io::Error,
    },
    /// Somebody took the gadget off its port.
    #[error("the phone was taken off the USB device port {0}")]
    Taken(String),
    /// The storage's state is not known any more.
    #[error("the phone's storage failed in the middle of a write")]
    Storage,
    /// The port answers no more.
    #[error("the USB device port {port} failed")]
    Failed {
        /// Which port.
        port: String,
        /// What the system says.
        source: io::Error,
    },
}

impl PortError {
    /// What the person who runs the phone does next.
    pub fn next_step(&self) -> String {
        match self {
            Self::None => "on a Raspberry Pi put `dtoverlay=dwc2` into config.txt and `modules-load=dwc2` into \
                           cmdline.txt and start again; to try it without a board, `modprobe dummy_hcd`"
                .into(),
            Self::Unknown { .. } | Self::Several(_) => "name one of them with --udc".into(),
            Self::Busy(_) => {
                "remove the other gadget (ls /sys/kernel/config/usb_gadget), or name another port with --udc".into()
            }
            Self::Setup { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => "run it as root".into(),
            Self::Setup { .. } => {
                "look whether configfs is mounted on /sys/kernel/config and `modprobe libcomposite usb_f_fs` works"
                    .into()
            }
            Self::Taken(_) => "start it again when the port is free".into(),
            Self::Storage => "look at the disk; the next start finds the whole old or the whole new state".into(),
            Self::Failed { .. } => "start it again; `dmesg` has what the kernel saw".into(),
        }
    }
}

/// What is happening on the port, for whoever looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortEvent {
    /// A host has configured the phone.
    Configured,
    /// It has not, or no longer: no cable, or a bus reset.
    Deconfigured,
    /// The host sleeps.
    Suspended,
    /// It is awake again.
    Resumed,
}

/// The names of the USB device ports there are.
pub fn ports() -> Vec<String> {
    let ports = usb_gadget::udcs().unwrap_or_default();
    let mut names: Vec<String> = ports.iter().map(|port| port.name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn choose(wanted: Option<&str>) -> Result<(Udc, String), PortError> {
    let named = |udc: Udc| {
        let name = udc.name().to_string_lossy().into_owned();
        (udc, name)
    };
    let mut there: Vec<_> = usb_gadget::udcs().unwrap_or_default().into_iter().map(named).collect();
    let names = || ports();
    match wanted {
        _ if there.is_empty() => Err(PortError::None),
        Some(wanted) => match there.into_iter().find(|(_, name)| name == wanted) {
            Some(found) => Ok(found),
            None => Err(PortError::Unknown { wanted: wanted.to_owned(), there: names() }),
        },
        None if there.len() > 1 => Err(PortError::Several(names())),
        None => there.pop().ok_or(PortError::None),
    }
}

/// A phone on a USB device port. Dropping it takes the gadget away again.
pub struct Port {
    name: String,
    gadget: RegGadget,
    custom: Custom,
    ends: Option<(EndpointReceiver, EndpointSender)>,
}

impl Port {
    /// Puts a phone of this kind on the port; hosts see it at once. What an earlier run left there is removed first.
    ///
    /// # Errors
    ///
    /// [`PortError`].
    pub fn open(phone: &Phone, udc: Option<&str>, max_speed: Option<Speed>) -> Result<Self, PortError> {
        let (udc, name) = choose(udc)?;
        let setup = |source| PortError::Setup { port: name.clone(), source };
        let gadget_name = format!("{NAME}{name}");
        for left in usb_gadget::registered().map_err(setup)? {
            if left.name().to_str() != Some(&gadget_name) {
                continue;
            }
            // A program that ends takes its FunctionFS along, and with it the gadget off the port.
            match left.udc().map_err(setup)? {
                Some(_) => return Err(PortError::Busy(name)),
                None => left.remove().map_err(setup)?,
            }
        }
        let (receiver, from_host) = EndpointDirection::host_to_device();
        let (sender, to_host) = EndpointDirection::device_to_host();
        let class = Class::new(INTERFACE_CLASS, INTERFACE_SUBCLASS, INTERFACE_PROTOCOL);
        let interface = Interface::new(class, "Tether")
            .with_endpoint(Endpoint::bulk(from_host))
            .with_endpoint(Endpoint::bulk(to_host))
            .with_os_ext_compat(OsExtCompat::winusb())
            .with_os_ext_prop(OsExtProp::new("DeviceInterfaceGUID", INTERFACE_GUID));
        let (custom, function) = Custom::builder().with_interface(interface).build();

        let mut gadget = {
            let material = &phone.lock().material;
            let (vendor, product) = material.usb_id;
            let strings = Strings::new(&material.maker, &material.model, &material.serial);
            Gadget::new(Class::INTERFACE_SPECIFIC, Id::new(vendor, product), strings)
        };
        gadget.name = Some(gadget_name);
        gadget.max_speed = max_speed;
        gadget.device_release = 0x0100;
        let gadget = gadget
            .with_config(Config::new("tether").with_function(function))
            .with_os_descriptor(OsDescriptor::microsoft())
            .register()
            .map_err(setup)?;
        gadget.bind(Some(&udc)).map_err(|source| match source.kind() {
            io::ErrorKind::ResourceBusy => PortError::Busy(name.clone()),
            _ => setup(source),
        })?;
        Ok(Self { name, gadget, custom, ends: Some((receiver, sender)) })
    }

    /// The port's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Serves hosts until `stop`, then takes the gadget away.
    ///
    /// # Errors
    ///
    /// [`PortError`]; the gadget is taken away then, too.
    pub async fn serve(
        mut self,
        phone: Phone,
        stop: impl Future<Output = ()>,
        on_event: impl Fn(PortEvent),
    ) -> Result<(), PortError> {
        let (receiver, sender) = self.ends.take().expect("a port is served once");
        let to_host = InPipe::start(sender);
        let socket = Arc::new(Mutex::new(Socket::new(phone.clone(), to_host.cable())));
        let from_host = OutPipe::start(receiver, socket.clone());
        let mut line = Line { socket, to_host, from_host };
        let power_lost = phone.lock().power_lost.clone();

        tokio::pin!(stop);
        let ended = loop {
            tokio::select! {
                () = &mut stop => break Ok(()),
                () = power_lost.notified() => break Err(PortError::Storage),
                ready = self.custom.wait_event() => match ready {
                    Ok(()) => if let Err(error) = events(&mut self.custom, &mut line, &self.name, &on_event).await {
                        break Err(error);
                    },
                    Err(source) => break Err(PortError::Failed { port: self.name.clone(), source }),
                },
            }
        };
        line.to_host.end().await;
        line.from_host.end().await;
        let Self { name, gadget, custom, .. } = self;
        let removed = block_in_place(|| {
            drop(custom);
            gadget.remove()
        });
        ended.and(removed.map_err(|source| PortError::Failed { port: name, source }))
    }
}

/// Both pipes and the engine behind them.
struct Line {
    socket: Arc<Mutex<Socket>>,
    to_host: InPipe,
    from_host: OutPipe,
}

impl Line {
    fn socket(&self) -> MutexGuard<'_, Socket> {
        self.socket.lock().expect("no holder of the socket panics")
    }

    /// Drops what of before lies in either pipe, in an order that lets nothing slip into the new epoch.
    async fn begin_epoch(&mut self, epoch: u16) {
        self.from_host.stop().await;
        self.socket().begin_epoch(epoch);
        self.to_host.flush().await;
    }
}

/// Handles what waits on endpoint 0.
async fn events(
    custom: &mut Custom,
    line: &mut Line,
    name: &str,
    on_event: &impl Fn(PortEvent),
) -> Result<(), PortError> {
    let failed = |source| PortError::Failed { port: name.to_owned(), source };
    while let Some(event) = custom.try_event().map_err(failed)? {
        tracing::debug!(?event, "endpoint 0");
        match event {
            // SET_CONFIGURATION or SET_INTERFACE.
            Event::Enable => {
                line.begin_epoch(0).await;
                line.from_host.go();
                on_event(PortEvent::Configured);
            }
            Event::Disable => {
                line.begin_epoch(0).await;
                on_event(PortEvent::Deconfigured);
            }
            Event::Suspend => on_event(PortEvent::Suspended),
            Event::Resume => on_event(PortEvent::Resumed),
            Event::Unbind => return Err(PortError::Taken(name.to_owned())),
            Event::SetupDeviceToHost(request) => read_request(request, line),
            Event::SetupHostToDevice(request) => write_request(request, line).await,
            Event::Bind | Event::Unknown(_) => {}
            _ => {}
        }
    }
    Ok(())
}

/// A request that is not answered is stalled when it is dropped; a host that has given it up is no fault of ours.
fn read_request(request: CtrlSender<'_>, line: &Line) {
    let asked = request.ctrl_req().clone();
    if (asked.request_type, asked.request) != (0xc1, REQUEST_STATUS) {
        return;
    }
    let status = line.socket().status().encode();
    let length = status.len().min(asked.length.into());
    if let Err(error) = block_in_place(|| request.send(&status[..length])) {
        tracing::debug!(%error, "status not read");
    }
}

async fn write_request(request: CtrlReceiver<'_>, line: &mut Line) {
    let asked = request.ctrl_req().clone();
    if (asked.request_type, asked.request) != (0x41, REQUEST_RESET) || asked.value == 0 || asked.length != 0 {
        return;
    }
    line.begin_epoch(asked.value).await;
    line.from_host.go();
    // This is the status stage: the host goes on when all of before is gone.
    if let Err(error) = block_in_place(|| request.recv_all()) {
        tracing::debug!(%error, "reset not acknowledged");
    }
}
