//! How the values of settings are written.

use std::net::IpAddr;
use std::time::Duration;

use bytesize::ByteSize;
use ipnet::IpNet;
use jiff::SignedDuration;

/// Reads a size like `128KiB`, `32Mi` or `1GiB`; never zero.
pub(super) fn parse_size(text: &str) -> Result<ByteSize, String> {
    match text.parse() {
        Ok(size) if size > ByteSize::b(0) => Ok(size),
        _ => Err(format!("{text:?} is not a size; write it like 128KiB, 32MiB or 1GiB, above zero")),
    }
}

/// Not one certificate fits into less.
const LEAST_CACHE: ByteSize = ByteSize::kib(1);

/// Reads the size of a certificate cache. A few bytes are a number whose unit was forgotten.
pub(crate) fn parse_cache_size(text: &str) -> Result<ByteSize, String> {
    at_least(LEAST_CACHE, text)
}

/// Reads a size that makes no sense below another one.
pub(super) fn at_least(least: ByteSize, text: &str) -> Result<ByteSize, String> {
    let size = parse_size(text)?;
    if size < least {
        let (size, least) = (size.display().iec(), least.display().iec());
        return Err(format!("{text:?} is {size}, which is less than {least}; write a size with its unit, like 32MiB"));
    }
    Ok(size)
}

/// Reads a time like `500ms`, `5s` or `2m`.
pub(crate) fn parse_time(text: &str) -> Result<Duration, String> {
    let expected = || format!("{text:?} is not a time; write it like 500ms, 5s or 2m");
    let time: SignedDuration = text.parse().map_err(|_| expected())?;
    Duration::try_from(time).map_err(|_| expected())
}

/// Reads an address range like `10.0.0.0/8`; a bare address stands for itself.
pub(super) fn parse_range(text: &str) -> Result<IpNet, String> {
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse()
        .or_else(|_| address())
        .map_err(|_| format!("{text:?} is not an address range; write it like 10.0.0.0/8 or 2001:db8::/32"))
}

/// Reads `on` or `off`.
pub(super) fn parse_switch(text: &str) -> Result<bool, String> {
    match text {
        "on" | "true" => Ok(true),
        "off" | "false" => Ok(false),
        _ => Err(format!("{text:?} is neither on nor off")),
    }
}

/// Reads a share like `85%`, from 1 to 100.
pub(super) fn parse_percent(text: &str) -> Result<u8, String> {
    match text.strip_suffix('%').unwrap_or(text).parse() {
        Ok(percent @ 1..=100) => Ok(percent),
        _ => Err(format!("{text:?} is not a share; write it like 85%, from 1% to 100%")),
    }
}

/// Reads a whole number of at least 1.
pub(super) fn parse_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if count > 0 => Ok(count),
        _ => Err(format!("{text:?} is not a whole number above zero")),
    }
}

/// Reads a number of proxies, which may be zero.
pub(super) fn parse_hops(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("{text:?} is not a number of proxies; write a whole number, such as 0, 1 or 2"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_the_spellings_of_kubernetes_and_of_people() {
        for (text, bytes) in [("1", 1), ("128KiB", 131_072), ("32Mi", 33_554_432), ("1GiB", 1_073_741_824)] {
            assert_eq!(parse_size(text), Ok(ByteSize::b(bytes)), "{text}");
        }
    }

    #[test]
    fn sizes_that_mean_nothing_are_refused() {
        for text in ["", "0", "-1", "12XB", "MiB"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_size_without_its_unit_is_not_taken_for_bytes() {
        assert_eq!(parse_cache_size("16KiB"), Ok(ByteSize::kib(16)));
        for text in ["64", "512", "1023"] {
            let message = parse_cache_size(text).unwrap_err();
            assert!(message.contains("less than 1.0 KiB") && message.contains("unit"), "{message}");
        }
    }

    #[test]
    fn a_bare_address_is_a_range_of_one() {
        assert_eq!(parse_range("10.1.2.3"), "10.1.2.3/32".parse().map_err(|_| String::new()));
        for text in ["10.0.0.0/33", "fe80::/129", "ten", "10.0.0.0/", ""] {
            assert!(parse_range(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shares_are_read_with_and_without_a_percent_sign() {
        assert_eq!((parse_percent("85%"), parse_percent("100")), (Ok(85), Ok(100)));
        for text in ["", "0", "101%", "-1", "8.5%", "85%%"] {
            assert!(parse_percent(text).is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_of_proxies_are_whole_and_may_be_zero() {
        assert_eq!((parse_hops("0"), parse_hops("2")), (Ok(0), Ok(2)));
        for text in ["", "-1", "1.5", "one", "4294967296"] {
            let message = parse_hops(text).unwrap_err();
            assert!(message.starts_with(&format!("{text:?} is not a number of proxies")), "{message}");
        }
    }

    #[test]
    fn times_are_read_with_their_unit() {
        assert_eq!(parse_time("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_time("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(parse_time("0s"), Ok(Duration::ZERO));
        for text in ["5", "s", "-1s", ""] {
            assert!(parse_time(text).is_err(), "{text}");
        }
    }
}
