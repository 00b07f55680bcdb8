//! The functions of Windows that std does not have, with access lists as the texts that Windows itself reads and
//! writes.

#![expect(
    unsafe_code,
    reason = "no crate that is kept up offers these to safe code; SECURITY.md names this file"
)]

use std::ffi::c_void;
use std::io;
use std::os::windows::ffi::OsStrExt as _;
use std::path::Path;
use std::ptr;

use windows_sys::Win32::Foundation::{CloseHandle, INVALID_HANDLE_VALUE, LocalFree};
use windows_sys::Win32::Security::Authorization::{
    ConvertSecurityDescriptorToStringSecurityDescriptorW, ConvertSidToStringSidW,
    ConvertStringSecurityDescriptorToSecurityDescriptorW, SDDL_REVISION_1,
};
use windows_sys::Win32::Security::{
    DACL_SECURITY_INFORMATION, GetFileSecurityW, GetTokenInformation, PSECURITY_DESCRIPTOR,
    SECURITY_ATTRIBUTES, SetFileSecurityW, TOKEN_USER, TokenUser,
};
use windows_sys::Win32::Storage::FileSystem::{
    CREATE_NEW, CreateDirectoryW, CreateFileW, FILE_READ_ATTRIBUTES, FILE_SHARE_DELETE,
    FILE_SHARE_READ, FILE_SHARE_WRITE,
};

/// The user that runs this process, as `S-1-…`.
pub(super) fn user() -> io::Result<String> {
    /// `GetCurrentProcessToken`: needs no closing.
    const OF_THIS_PROCESS: usize = usize::MAX - 3;
    // TOKEN_USER and the longest SID (68 bytes) behind it.
    let mut room = [0_u64; 16];
    let mut size = u32::try_from(size_of_val(&room)).unwrap_or(0);
    let mut text = ptr::null_mut();
    // SAFETY: as many bytes are written as the room has; it is aligned for TOKEN_USER, which is what TokenUser asks
    // for, and the SID that it points to lies in the room as well.
    unsafe {
        done(GetTokenInformation(
            ptr::without_provenance_mut(OF_THIS_PROCESS),
            TokenUser,
            room.as_mut_ptr().cast(),
            size,
            &raw mut size,
        ))?;
        let user = room.as_ptr().cast::<TOKEN_USER>();
        done(ConvertSidToStringSidW((*user).User.Sid, &raw mut text))?;
        Ok(taken(text))
    }
}

/// Makes a folder with that access list.
pub(super) fn create_folder(path: &Path, list: &str) -> io::Result<()> {
    let descriptor = Descriptor::parse(list)?;
    // SAFETY: the path ends with NUL, and all that is pointed to lives until the call returns.
    let attributes = descriptor.attributes();
    done(unsafe { CreateDirectoryW(wide(path).as_ptr(), &raw const attributes) })
}

/// Makes an empty file with that access list. Others may open it at once: it is held for no use of its contents.
pub(super) fn create_file(path: &Path, list: &str) -> io::Result<()> {
    let descriptor = Descriptor::parse(list)?;
    let attributes = descriptor.attributes();
    // SAFETY: as above; the handle is ours to close.
    unsafe {
        let handle = CreateFileW(
            wide(path).as_ptr(),
            FILE_READ_ATTRIBUTES,
            FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE,
            &raw const attributes,
            CREATE_NEW,
            0,
            ptr::null_mut(),
        );
        if handle == INVALID_HANDLE_VALUE {
            return Err(io::Error::last_os_error());
        }
        done(CloseHandle(handle))
    }
}

/// The access list of what is there.
pub(super) fn read(path: &Path) -> io::Result<String> {
    let path = wide(path);
    let mut size = 0;
    // SAFETY: without room nothing is written but the size.
    unsafe {
        GetFileSecurityW(
            path.as_ptr(),
            DACL_SECURITY_INFORMATION,
            ptr::null_mut(),
            0,
            &raw mut size,
        );
    }
    let mut room = vec![0_u64; (size as usize).div_ceil(size_of::<u64>())];
    let descriptor: PSECURITY_DESCRIPTOR = room.as_mut_ptr().cast();
    // SAFETY: the room has at least that many bytes, and holds a descriptor once the call has succeeded.
    unsafe {
        done(GetFileSecurityW(
            path.as_ptr(),
            DACL_SECURITY_INFORMATION,
            descriptor,
            size,
            &raw mut size,
        ))?;
        text(descriptor)
    }
}

/// Gives an access list to what is there.
pub(super) fn write(path: &Path, list: &str) -> io::Result<()> {
    let descriptor = Descriptor::parse(list)?;
    // SAFETY: the path ends with NUL, and the descriptor lives until the call returns.
    done(unsafe { SetFileSecurityW(wide(path).as_ptr(), DACL_SECURITY_INFORMATION, descriptor.0) })
}

/// An access list as Windows writes it.
pub(super) fn rewritten(list: &str) -> io::Result<String> {
    let descriptor = Descriptor::parse(list)?;
    // SAFETY: a descriptor that Windows made.
    unsafe { text(descriptor.0) }
}

/// A text that Windows has allocated.
struct Descriptor(PSECURITY_DESCRIPTOR);

impl Descriptor {
    fn parse(list: &str) -> io::Result<Self> {
        let list: Vec<u16> = list.encode_utf16().chain([0]).collect();
        let mut descriptor = ptr::null_mut();
        // SAFETY: the text ends with NUL; what is allocated is freed with the value.
        done(unsafe {
            ConvertStringSecurityDescriptorToSecurityDescriptorW(
                list.as_ptr(),
                SDDL_REVISION_1,
                &raw mut descriptor,
                ptr::null_mut(),
            )
        })?;
        Ok(Self(descriptor))
    }

    /// Valid while the descriptor is.
    fn attributes(&self) -> SECURITY_ATTRIBUTES {
        SECURITY_ATTRIBUTES {
            nLength: u32::try_from(size_of::<SECURITY_ATTRIBUTES>()).unwrap_or(0),
            lpSecurityDescriptor: self.0,
            bInheritHandle: 0,
        }
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: allocated by Windows for us, and freed once.
        unsafe { LocalFree(self.0) };
    }
}

/// # Safety
/// There has to be a descriptor.
unsafe fn text(descriptor: PSECURITY_DESCRIPTOR) -> io::Result<String> {
    let mut text = ptr::null_mut();
    // SAFETY: the caller's.
    unsafe {
        done(ConvertSecurityDescriptorToStringSecurityDescriptorW(
            descriptor,
            SDDL_REVISION_1,
            DACL_SECURITY_INFORMATION,
            &raw mut text,
            ptr::null_mut(),
        ))?;
        Ok(taken(text))
    }
}

/// # Safety
/// A text that Windows has allocated for us, with a NUL at its end.
unsafe fn taken(text: *mut u16) -> String {
    let mut length = 0;
    // SAFETY: read up to its end, and freed once.
    unsafe {
        while *text.add(length) != 0 {
            length += 1;
        }
        let found = String::from_utf16_lossy(std::slice::from_raw_parts(text, length));
        LocalFree(text.cast::<c_void>());
        found
    }
}

fn done(answer: i32) -> io::Result<()> {
    if answer == 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn wide(path: &Path) -> Vec<u16> {
    path.as_os_str().encode_wide().chain([0]).collect()
}
