//! The commands by which a maker vouches for a phone.

use crate::arguments::{FactoryInstallArgs, FactorySignArgs, MakeMakerArgs, Name, PhoneArgs};
use crate::error::PhoneError;
use crate::screen;
use std::path::Path;
use tethercert::gadget::board::Board;
use tethercert::gadget::factory;
use tethercert::gadget::folder::Folder;

pub(crate) fn make_maker(args: &MakeMakerArgs) -> Result<(), PhoneError> {
    let (folder, _) = Folder::open(&args.out)?;
    screen::data(&factory::make_maker(&folder, &args.name)?);
    Ok(())
}

pub(crate) fn request(args: &PhoneArgs) -> Result<(), PhoneError> {
    let name = name(args)?;
    let (folder, _) = Folder::open(&args.storage)?;
    screen::data(&factory::request(&folder, &name.model, &name.serial, name.mac)?);
    Ok(())
}

pub(crate) fn sign(args: &FactorySignArgs) -> Result<(), PhoneError> {
    let request = read(&args.request)?;
    let (folder, _) = Folder::open(&args.root)?;
    screen::data(&factory::sign(&folder, &String::from_utf8_lossy(&request))?);
    Ok(())
}

pub(crate) fn install(args: &PhoneArgs, what: &FactoryInstallArgs) -> Result<(), PhoneError> {
    let chain = read(&what.chain)?;
    let name = name(args)?;
    let (folder, _) = Folder::open(&args.storage)?;
    factory::install(&folder, &chain, &name.serial)?;
    screen::line(&format!("factory certificate for {} stored", name.serial));
    Ok(())
}

/// Who the phone is.
pub(crate) fn name(args: &PhoneArgs) -> Result<Name, PhoneError> {
    args.name(Board::read()).ok_or_else(|| PhoneError::Usage {
        message: "this board has no network port whose MAC the phone could have".into(),
        next: "give it one with --mac".into(),
    })
}

fn read(path: &Path) -> Result<Vec<u8>, PhoneError> {
    std::fs::read(path).map_err(|source| PhoneError::NotRead { path: path.to_owned(), source })
}
