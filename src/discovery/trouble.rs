//! Each way in which discovery fails, with its text and its next step: one row each. docs/troubleshooting.md has a section for
//! every row.

use crate::diagnose::{Finding, Verdict};

macro_rules! troubles {
    ($($(#[doc = $doc:literal])+ $name:ident: $verdict:ident, $text:literal, $next:literal;)+) => {
        /// A way in which discovery fails.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Trouble {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Trouble {
            /// The whole list.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// What it is, in a fixed text without values.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// What the technician does next.
            pub const fn next_step(self) -> &'static str {
                match self { $(Self::$name => $next,)+ }
            }

            /// Whether it is a fault, or only not known.
            pub const fn verdict(self) -> Verdict {
                match self { $(Self::$name => Verdict::$verdict,)+ }
            }
        }
    };
}

troubles! {
    /// This computer has no interface to ask on, or none of that name.
    NoInterface: Unknown, "there is no network interface to ask on",
        "plug in Ethernet in the phones' network, or name the interface: --interface NAME";
    /// Port 68 is below 1024, and this user may not have it.
    PortNotAllowed: Unknown, "this user may not use port 68, where DHCP servers answer",
        "repeat as root, or give the program the right once: setcap cap_net_bind_service,cap_net_raw=ep on its file";
    /// Another program has port 68, and this user may not listen beside it.
    PortTaken: Unknown, "another program has port 68, where DHCP servers answer",
        "repeat as root, which listens beside the system's DHCP client; where that is not possible, ask from another computer";
    /// The system did not send the query.
    NotSent: Unknown, "the DHCP query could not be sent",
        "see that the interface is up and has an IPv4 address, then repeat";
    /// Nobody answered.
    NoAnswer: Bad, "no DHCP server answered",
        "ask from a port in the phones' VLAN; the router there needs a DHCP relay (IP helper), and the server the options for the \
         vendor class MS-UC-Client: tethercert discovery encode";
    /// An answer without option 120.
    RegistrarMissing: Bad, "option 120 is missing: no registrar is named",
        "set option 120 on the DHCP server: tethercert discovery encode prints it";
    /// Option 120 with addresses.
    RegistrarByAddress: Bad, "option 120 names the registrar by address",
        "set a name in option 120 (RFC 3361, encoding 0): the phone compares the registrar's certificate with it";
    /// Option 120 whose bytes say nothing.
    RegistrarUnreadable: Bad, "option 120 cannot be read",
        "set option 120 as bytes, not as text: tethercert discovery encode prints it";
    /// An answer without option 43.
    WebMissing: Bad, "option 43 is missing: no Web Services are named",
        "set option 43 for the vendor class MS-UC-Client on the DHCP server: tethercert discovery encode prints it";
    /// Option 43 whose sub-options do not fit their length.
    WebUnreadable: Bad, "option 43 cannot be read",
        "set option 43 anew: tethercert discovery encode prints its bytes";
    /// Sub-option 1 is missing.
    IdentifierMissing: Bad, "option 43 has no identifier MS-UC-Client",
        "another product's option 43 may have been sent: define it for the vendor class MS-UC-Client, with sub-option 1 MS-UC-Client";
    /// Sub-option 1 differs by case alone.
    IdentifierCase: Bad, "the identifier in option 43 is written in another case",
        "write sub-option 1 exactly as MS-UC-Client: phones compare letter by letter";
    /// Sub-option 1 says something else.
    IdentifierOther: Bad, "the identifier in option 43 is not MS-UC-Client",
        "another product's option 43 may have been sent: define it for the vendor class MS-UC-Client, with sub-option 1 MS-UC-Client";
    /// Sub-option 2 is not https.
    SchemeNotHttps: Bad, "the scheme in option 43 is not https",
        "set sub-option 2 of option 43 to https";
    /// Sub-option 3 is missing or no name.
    WebNameUnreadable: Bad, "the name of the Web Services in option 43 cannot be used",
        "set sub-option 3 of option 43 to the full name of the Web Services, like web.contoso.example";
    /// Sub-option 4 is no port.
    WebPortUnreadable: Bad, "the port in option 43 cannot be used",
        "set sub-option 4 of option 43 to the port as digits: 443";
    /// Sub-option 5 is no path.
    WebPathUnreadable: Bad, "the path in option 43 cannot be used",
        "set sub-option 5 of option 43 to /CertProv/CertProvisioningService.svc";
    /// Sub-options 2, 4 or 5 are missing.
    WebIncomplete: Bad, "option 43 is incomplete",
        "set all of its sub-options 1 to 5: tethercert discovery encode prints them";
    /// More than one server answers, differently.
    ServersDisagree: Bad, "DHCP servers answer differently",
        "find out which of them belongs here: the phone takes the first answer with a name, so that it is chance which one it uses";
    /// A name is not in the domain of the user.
    OutsideDomain: Unknown, "a server outside the user's SIP domain is named",
        "compare the name with what the administrator says, since any computer can answer DHCP; --allow-host NAME lets it receive \
         credentials";
    /// Nobody offers a VLAN by DHCP.
    NoVlan: Unknown, "no DHCP server names a voice VLAN",
        "nothing is wrong if the switch says it by LLDP, or if phones share this VLAN; else set option 43, sub-option 10, for the \
         vendor class CPE-OCPHONE";
    /// The VLAN is no number.
    VlanUnreadable: Bad, "the voice VLAN in option 43 cannot be read",
        "set sub-option 10 of option 43 for the vendor class CPE-OCPHONE to the VLAN as two bytes, like 00 64 for 100";
    /// Nobody says in which domain to look.
    NoDomain: Unknown, "no SIP domain is known, so DNS was not asked",
        "name it: --user alice@contoso.example, or --domain contoso.example";
    /// This system has no DNS server.
    NoDns: Unknown, "this computer has no DNS server to ask",
        "name one: --dns-server ADDRESS";
    /// The DNS server says nothing.
    DnsSilent: Unknown, "the DNS server did not answer",
        "see whether this network lets port 53 through, or ask another server: --dns-server ADDRESS";
    /// The DNS server refuses.
    DnsRefuses: Unknown, "the DNS server refused to answer",
        "look at the DNS server's log, or ask another server: --dns-server ADDRESS";
    /// An SRV record with a target that is no full host name.
    TargetUnusable: Bad, "an SRV record names a server that cannot be used",
        "correct its target: the full name of a server, like pool.contoso.example; never an address";
    /// No record names a registrar.
    NoRegistrarInDns: Bad, "DNS names no registrar",
        "add SRV _sipinternaltls._tcp for the SIP domain, port 5061; phones that got no option 120 go by it";
    /// Nothing names the Web Services.
    WebServicesUnknown: Bad, "nothing names the Web Services",
        "DNS has no record for them, so set option 43 on the DHCP server; here they can be given by hand: --certprov-url URL";
    /// A name that DNS does not know.
    NotResolved: Bad, "the name does not resolve",
        "add its A record to the DNS that phones use, or correct the name in the DHCP option";
    /// A connection was refused.
    PortClosed: Bad, "the port is closed",
        "see that the service runs on that server, and that the name leads to the right one";
    /// A connection was not answered.
    PortSilent: Bad, "the port does not answer",
        "see whether a firewall between this network and the server drops it";
    /// The system says that there is no way.
    NoRoute: Bad, "there is no way to the server",
        "see whether this network is routed to the server's";
    /// No record for the time.
    NoTimeRecord: Bad, "DNS names no time server",
        "add SRV _ntp._udp for the SIP domain, port 123; without it phones ask time.windows.com, which isolated networks do not reach";
    /// A time server that does not answer.
    TimeSilent: Bad, "the time server did not answer",
        "see that NTP runs there, and that UDP 123 is let through: a phone without time trusts no certificate";
    /// A time server that does not know the time itself.
    TimeNotKnown: Bad, "the time server does not know the time itself",
        "have the time server synchronise, then repeat";
    /// What came was no answer of NTP.
    TimeUnreadable: Bad, "the time server's answer cannot be read",
        "see what answers on UDP 123 of that server";
    /// The clocks are apart.
    TimeDiffers: Unknown, "the time server and this computer differ",
        "correct the one of the two clocks that is wrong";
}

impl Trouble {
    /// The finding for `check`, which still lacks what was seen.
    pub fn found(self, check: &'static str) -> Finding {
        Finding { verdict: self.verdict(), ..Finding::unknown(check, self.text(), self.next_step()) }
    }
}
