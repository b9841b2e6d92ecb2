//! What the lab's network tells phones: DHCP, DNS and the time, each on a port of its own of 127.0.0.1.

use super::dhcp::{DhcpFault, DhcpPlan, DhcpServer};
use super::dns::{DnsData, DnsFault, DnsPlan, Shared, SmallServer, TimeFault, shared};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::PoisonError;

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// The SIP domain of the lab's users.
const DOMAIN: &str = "contoso.example";

/// Running servers.
#[derive(Debug)]
pub struct Network {
    dhcp: DhcpServer,
    dns: SmallServer,
    time: SmallServer,
    dhcp_plan: Shared<DhcpPlan>,
    dns_plan: Shared<DnsPlan>,
    time_fault: Shared<Option<TimeFault>>,
}

impl Network {
    /// Names these two servers, the Web Services first.
    ///
    /// # Errors
    /// No port could be had.
    pub async fn start(web: (&str, u16), registrar: (&str, u16)) -> io::Result<Self> {
        let time_fault = shared(None);
        let time = SmallServer::time(LOOPBACK, time_fault.clone()).await?;
        let here = || DnsData::A(Ipv4Addr::LOCALHOST);
        let named = |name: &str| format!("{name}.{DOMAIN}");
        let srv = |port: u16, name: &str| DnsData::Srv(0, 0, port, name.to_owned());
        let plan = DnsPlan::default()
            .with(&named("_sipinternaltls._tcp"), srv(registrar.1, registrar.0))
            .with(&named("_ntp._udp"), srv(time.address().port(), &named("time")))
            .with(&named("time"), here())
            .with(&named("ucupdates-r2"), here())
            .with(web.0, here())
            .with(registrar.0, here());
        let dns_plan = shared(plan);
        let dns = SmallServer::dns(LOOPBACK, dns_plan.clone()).await?;
        let dhcp_plan = shared(DhcpPlan {
            registrar: registrar.0.to_owned(),
            web_host: web.0.to_owned(),
            web_port: web.1,
            ..DhcpPlan::default()
        });
        let dhcp = DhcpServer::start(LOOPBACK, dhcp_plan.clone()).await?;
        Ok(Self { dhcp, dns, time, dhcp_plan, dns_plan, time_fault })
    }

    /// Where the DHCP server is.
    pub fn dhcp(&self) -> SocketAddr {
        self.dhcp.address()
    }

    /// Where the DNS server is.
    pub fn dns(&self) -> SocketAddr {
        self.dns.address()
    }

    /// Where the time server is.
    pub fn time(&self) -> SocketAddr {
        self.time.address()
    }

    /// Breaks the DHCP server.
    pub fn break_dhcp(&self, fault: DhcpFault) {
        self.dhcp_plan.lock().unwrap_or_else(PoisonError::into_inner).faults.push(fault);
    }

    /// Breaks the DNS server.
    pub fn break_dns(&self, fault: DnsFault) {
        self.dns_plan.lock().unwrap_or_else(PoisonError::into_inner).fault = Some(fault);
    }

    /// Breaks the time server.
    pub fn break_time(&self, fault: TimeFault) {
        *self.time_fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
    }
}
