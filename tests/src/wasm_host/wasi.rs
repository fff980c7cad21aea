//! The few functions of WASI preview 1 that Rust's standard library needs.

use wasmtime::{Linker, Result, bail};

use super::guest::{Call, read, write, write_u32};
use super::state::State;

const MODULE: &str = "wasi_snapshot_preview1";
const SUCCESS: u32 = 0;
const BAD_DESCRIPTOR: u32 = 8;
const INVALID: u32 = 28;

/// The imports; anything else in the namespace traps with its name.
pub(super) fn install(linker: &mut Linker<State>) -> Result<()> {
    linker.func_wrap(MODULE, "clock_time_get", clock_time_get)?;
    linker.func_wrap(MODULE, "random_get", random_get)?;
    linker.func_wrap(MODULE, "environ_sizes_get", environ_sizes_get)?;
    linker.func_wrap(MODULE, "environ_get", environ_get)?;
    linker.func_wrap(MODULE, "fd_write", fd_write)?;
    linker.func_wrap(MODULE, "sched_yield", || SUCCESS)?;
    linker
        .func_wrap(MODULE, "proc_exit", |code: u32| -> Result<()> { bail!("the module called proc_exit({code})") })?;
    Ok(())
}

fn clock_time_get(mut call: Call<'_>, clock: u32, _precision: u64, at: u32) -> Result<u32> {
    let time = match clock {
        0 => call.data().clock.wall,
        1 => call.data().clock.monotonic,
        _ => return Ok(INVALID),
    };
    let nanoseconds = u64::try_from(time.as_nanos())?;
    write(&mut call, at, &nanoseconds.to_le_bytes())?;
    Ok(SUCCESS)
}

fn environ_sizes_get(mut call: Call<'_>, count_at: u32, size_at: u32) -> Result<u32> {
    let variables = &call.data().environment;
    let count = u32::try_from(variables.len())?;
    // A zero byte ends each of them.
    let size = u32::try_from(variables.iter().map(|variable| variable.len() + 1).sum::<usize>())?;
    write_u32(&mut call, count_at, count)?;
    write_u32(&mut call, size_at, size)?;
    Ok(SUCCESS)
}

/// Writes the variables one after the other, and the address of each.
fn environ_get(mut call: Call<'_>, mut address_at: u32, mut at: u32) -> Result<u32> {
    for variable in call.data().environment.clone() {
        write_u32(&mut call, address_at, at)?;
        let bytes = [variable.as_bytes(), b"\0"].concat();
        write(&mut call, at, &bytes)?;
        address_at = address_at.wrapping_add(4);
        at = at.wrapping_add(u32::try_from(bytes.len())?);
    }
    Ok(SUCCESS)
}

fn random_get(mut call: Call<'_>, at: u32, length: u32) -> Result<u32> {
    let bytes: Vec<u8> = (0..length).map(|_| call.data_mut().next_random()).collect();
    write(&mut call, at, &bytes)?;
    Ok(SUCCESS)
}

/// Standard output and error go to the log; a panic message arrives here.
fn fd_write(mut call: Call<'_>, descriptor: u32, vectors: u32, count: u32, written_at: u32) -> Result<u32> {
    if !matches!(descriptor, 1 | 2) {
        return Ok(BAD_DESCRIPTOR);
    }
    let mut text = Vec::new();
    for vector in 0..count {
        let at = vectors.wrapping_add(vector.wrapping_mul(8));
        let (address, length) = (number(&mut call, at)?, number(&mut call, at.wrapping_add(4))?);
        text.extend(read(&mut call, address, length)?);
    }
    write_u32(&mut call, written_at, u32::try_from(text.len())?)?;
    let line = String::from_utf8_lossy(&text).trim_end().to_owned();
    call.data_mut().log.push(format!("[output] {line}"));
    Ok(SUCCESS)
}

fn number(call: &mut Call<'_>, at: u32) -> Result<u32> {
    let bytes = read(call, at, 4)?;
    let bytes: [u8; 4] = bytes.as_slice().try_into()?;
    Ok(u32::from_le_bytes(bytes))
}
