//! The options as an administrator needs them for a DHCP server.

use super::name::HostName;
use super::options::{TooLong, UC_CLIENT, WebServices, hex, registrar_bytes};
use std::fmt::Write as _;

/// What Microsoft's own script calls the vendor class on a Windows server.
const WINDOWS_CLASS: &str = "MSUCClient";
/// What the same calls option 120.
const WINDOWS_REGISTRAR: &str = "UCSipServer";

/// For which DHCP server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The bytes of each option.
    Hex,
    /// PowerShell on a Windows server.
    PowerShell,
    /// netsh on a Windows server.
    Netsh,
    /// Lines of dnsmasq's configuration.
    Dnsmasq,
    /// JSON for Kea.
    Kea,
    /// Lines of ISC dhcpd's configuration.
    Isc,
}

impl Form {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Hex, Self::PowerShell, Self::Netsh, Self::Dnsmasq, Self::Kea, Self::Isc];

    /// In a word, for options and programs.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Hex => "hex",
            Self::PowerShell => "powershell",
            Self::Netsh => "netsh",
            Self::Dnsmasq => "dnsmasq",
            Self::Kea => "kea",
            Self::Isc => "isc",
        }
    }

    /// For people, and where it goes.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Hex => "Bytes: option code, length, value",
            Self::PowerShell => "Windows DHCP server, PowerShell as administrator",
            Self::Netsh => "Windows DHCP server, netsh as administrator",
            Self::Dnsmasq => "dnsmasq, /etc/dnsmasq.d/lync.conf",
            Self::Kea => "Kea, part of /etc/kea/kea-dhcp4.conf",
            Self::Isc => "ISC dhcpd, part of /etc/dhcp/dhcpd.conf",
        }
    }
}

/// The two options with their bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    registrar: HostName,
    web: WebServices,
    option_120: Vec<u8>,
    option_43: Vec<u8>,
}

impl Encoded {
    /// What phones shall be told.
    pub fn new(registrar: HostName, web: WebServices) -> Result<Self, TooLong> {
        let (option_120, option_43) = (registrar_bytes(&registrar)?, web.bytes()?);
        Ok(Self { registrar, web, option_120, option_43 })
    }

    /// The value of option 120.
    pub fn option_120(&self) -> &[u8] {
        &self.option_120
    }

    /// The value of option 43.
    pub fn option_43(&self) -> &[u8] {
        &self.option_43
    }

    /// The text to copy, with a line's end at its end.
    pub fn text(&self, form: Form) -> String {
        match form {
            Form::Hex => self.hex(),
            Form::PowerShell => self.powershell(),
            Form::Netsh => self.netsh(),
            Form::Dnsmasq => self.dnsmasq(),
            Form::Kea => self.kea(),
            Form::Isc => self.isc(),
        }
    }

    fn hex(&self) -> String {
        let mut text = String::new();
        for (code, value) in [(43u8, &self.option_43), (120, &self.option_120)] {
            let length = u8::try_from(value.len()).expect("an option that fits");
            let _ = writeln!(text, "{}", hex(&[&[code, length], &value[..]].concat()));
        }
        text
    }

    fn powershell(&self) -> String {
        let bytes = |value: &[u8]| value.iter().map(|byte| format!("0x{byte:02X}")).collect::<Vec<_>>().join(",");
        let mut text = format!("Add-DhcpServerv4Class -Name {WINDOWS_CLASS} -Type Vendor -Data '{UC_CLIENT}'\n");
        for (code, name, _) in self.web.parts() {
            let _ = writeln!(
                text,
                "Add-DhcpServerv4OptionDefinition -OptionId {code} -Name {name} -Type BinaryData -VendorClass {WINDOWS_CLASS}"
            );
        }
        let _ =
            writeln!(text, "Add-DhcpServerv4OptionDefinition -OptionId 120 -Name {WINDOWS_REGISTRAR} -Type BinaryData");
        for (code, _, value) in self.web.parts() {
            let value = bytes(value.as_bytes());
            let _ = writeln!(
                text,
                "Set-DhcpServerv4OptionValue -OptionId {code} -VendorClass {WINDOWS_CLASS} -Value {value}"
            );
        }
        let _ = writeln!(text, "Set-DhcpServerv4OptionValue -OptionId 120 -Value {}", bytes(&self.option_120));
        text
    }

    fn netsh(&self) -> String {
        let bytes = |value: &[u8]| value.iter().map(|byte| format!("{byte:02X}")).collect::<String>();
        let mut text = format!("netsh dhcp server add class {WINDOWS_CLASS} \"UC Vendor Class Id\" {UC_CLIENT} 1\n");
        for (code, name, _) in self.web.parts() {
            let _ = writeln!(text, "netsh dhcp server add optiondef {code} {name} Binary 0 Vendor={WINDOWS_CLASS}");
        }
        let _ = writeln!(text, "netsh dhcp server add optiondef 120 {WINDOWS_REGISTRAR} Binary 0");
        for (code, _, value) in self.web.parts() {
            let value = bytes(value.as_bytes());
            let _ = writeln!(text, "netsh dhcp server set optionvalue {code} Binary Vendor={WINDOWS_CLASS} {value}");
        }
        let _ = writeln!(text, "netsh dhcp server set optionvalue 120 Binary {}", bytes(&self.option_120));
        text
    }

    fn dnsmasq(&self) -> String {
        let mut text = String::new();
        for (code, _, value) in self.web.parts() {
            let _ = writeln!(text, "dhcp-option=vendor:{UC_CLIENT},{code},\"{value}\"");
        }
        let _ = writeln!(text, "dhcp-option=option:sip-server,{}", self.registrar);
        text
    }

    fn kea(&self) -> String {
        let bytes = |value: &[u8]| value.iter().map(|byte| format!("{byte:02X}")).collect::<String>();
        format!(
            r#""client-classes": [
  {{
    "name": "{UC_CLIENT}",
    "test": "option[60].text == '{UC_CLIENT}'",
    "option-def": [
      {{ "name": "vendor-encapsulated-options", "code": 43, "type": "binary" }}
    ],
    "option-data": [
      {{ "code": 43, "csv-format": false, "data": "{}" }},
      {{ "code": 120, "csv-format": false, "data": "{}" }}
    ]
  }}
]
"#,
            bytes(&self.option_43),
            bytes(&self.option_120)
        )
    }

    fn isc(&self) -> String {
        let bytes = |value: &[u8]| value.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":");
        let mut text =
            "# Phones ask by DHCPINFORM: that is answered only for subnets that `authoritative;` stands above or in.\n"
                .to_owned();
        let _ = writeln!(text, "option space {WINDOWS_CLASS};");
        for (code, name, _) in self.web.parts() {
            let _ = writeln!(text, "option {WINDOWS_CLASS}.{name} code {code} = text;");
        }
        let _ = writeln!(text, "option {WINDOWS_REGISTRAR} code 120 = string;");
        let _ = writeln!(text, "class \"{UC_CLIENT}\" {{");
        let _ = writeln!(text, "  match if option vendor-class-identifier = \"{UC_CLIENT}\";");
        let _ = writeln!(text, "  vendor-option-space {WINDOWS_CLASS};");
        for (_, name, value) in self.web.parts() {
            let _ = writeln!(text, "  option {WINDOWS_CLASS}.{name} \"{value}\";");
        }
        let _ = writeln!(text, "  option {WINDOWS_REGISTRAR} {};", bytes(&self.option_120));
        let _ = writeln!(text, "}}");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::super::options::CERTPROV_PATH;
    use super::*;

    fn encoded() -> Encoded {
        let web =
            WebServices { host: "web.contoso.example".parse().unwrap(), port: 443, path: CERTPROV_PATH.to_owned() };
        Encoded::new("pool.contoso.example".parse().unwrap(), web).unwrap()
    }

    #[test]
    fn the_bytes_are_those_of_microsofts_tool() {
        let text = encoded().text(Form::Hex);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("2b 56 01 0c 4d 53 2d 55 43 2d 43 6c 69 65 6e 74 02 05 68 74 74 70 73 03 13 77"));
        assert_eq!(lines[1], "78 17 00 04 70 6f 6f 6c 07 63 6f 6e 74 6f 73 6f 07 65 78 61 6d 70 6c 65 00");
    }

    #[test]
    fn windows_gets_each_sub_option_by_its_known_hex() {
        let text = encoded().text(Form::Netsh);
        for value in [
            "4D532D55432D436C69656E74",
            "6874747073",
            "7765622E636F6E746F736F2E6578616D706C65",
            "343433",
            "2F4365727450726F762F4365727450726F766973696F6E696E67536572766963652E737663",
        ] {
            assert!(text.contains(&format!("Vendor=MSUCClient {value}\n")), "{value}");
        }
        let text = encoded().text(Form::PowerShell);
        assert!(text.contains("-OptionId 4 -VendorClass MSUCClient -Value 0x34,0x34,0x33\n"));
        assert!(text.starts_with("Add-DhcpServerv4Class -Name MSUCClient -Type Vendor -Data 'MS-UC-Client'\n"));
    }

    #[test]
    fn what_kea_gets_is_json() {
        let text = format!("{{{}}}", encoded().text(Form::Kea));
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let data = json["client-classes"][0]["option-data"][0]["data"].as_str().unwrap();
        assert_eq!(data.len(), 2 * 86);
    }
}
