//! Encodes a value as MessagePack, in the shape that it has in JSON. Refuses values that could not
//! be read back.
//!
//! `rmp-serde` decodes the result. Its own encoder has no depth limit, and writes unit structs and
//! bytes in shapes that serde's untagged, tagged and flattened types cannot read.

use std::fmt;
use std::ops::Range;

use rmp::Marker;
use rmp::encode as put;
use serde::Serialize;
use serde::ser;

use super::MAX_DEPTH;

/// Types that need a format-specific deserializer, which is not available here: `serde_json`'s
/// `RawValue`, and the extension types of `rmp-serde`.
const UNREADABLE: [&str; 2] = ["$serde_json::private::RawValue", "_ExtStruct"];

/// Appends one value to a buffer.
#[derive(Debug)]
pub(super) struct Encoder<'b> {
    out: &'b mut Vec<u8>,
    /// The number of levels that may still be opened.
    levels: usize,
}

impl<'b> Encoder<'b> {
    pub(super) fn new(out: &'b mut Vec<u8>) -> Self {
        Self { out, levels: MAX_DEPTH }
    }

    #[inline]
    fn marker(&mut self, marker: Marker) {
        self.out.push(marker.to_u8());
    }

    #[inline]
    fn open(&mut self) -> Result<(), Refusal> {
        self.levels = self.levels.checked_sub(1).ok_or(Refusal::Deep)?;
        Ok(())
    }

    /// Starts a sequence or a map. `length` is the length that the value's `Serialize` announces.
    fn items(&mut self, kind: Kind, length: Option<usize>) -> Result<Items<'_, 'b>, Refusal> {
        self.open()?;
        let begin = self.out.len();
        let declared = length.unwrap_or_default();
        kind.put(declared, self.out)?;
        let header = begin..self.out.len();
        Ok(Items { encoder: self, kind, header, declared, count: 0, levels: 1 })
    }

    /// Starts an enum variant with content: a map with one entry.
    fn variant(&mut self, variant: &str) -> Result<(), Refusal> {
        self.open()?;
        self.marker(Marker::FixMap(1));
        put::write_str(self.out, variant)?;
        Ok(())
    }

    fn variant_items(
        &mut self,
        variant: &str,
        kind: Kind,
        length: usize,
    ) -> Result<Items<'_, 'b>, Refusal> {
        self.variant(variant)?;
        Ok(Items { levels: 2, ..self.items(kind, Some(length))? })
    }
}

/// The reason why a value is refused.
#[derive(Debug)]
pub(super) enum Refusal {
    Deep,
    /// A `Some` around an empty value would be read as `None`.
    Lost,
    Unreadable,
    /// The value's `Serialize` failed. Its message is dropped, because it may quote the value.
    Failed,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deep => {
                write!(f, "it is nested deeper than {MAX_DEPTH} levels; store it flatter")
            }
            Self::Lost => f.write_str(
                "it contains a `Some` of nothing (`Some(None)` or `Some(())`), which would be read \
                 as `None`; use an enum instead",
            ),
            Self::Unreadable => f.write_str(
                "it contains a type that needs another format, such as `RawValue`; \
                 store a `serde_json::Value` or text",
            ),
            Self::Failed => f.write_str("its `Serialize` implementation failed"),
        }
    }
}

impl std::error::Error for Refusal {}

impl ser::Error for Refusal {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::Failed
    }
}

impl From<put::ValueWriteError> for Refusal {
    fn from(_: put::ValueWriteError) -> Self {
        Self::Failed
    }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Sequence,
    Map,
}

impl Kind {
    fn put(self, length: usize, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let length = u32::try_from(length).map_err(|_| Refusal::Failed)?;
        match self {
            Self::Sequence => put::write_array_len(out, length)?,
            Self::Map => put::write_map_len(out, length)?,
        };
        Ok(())
    }
}

/// The items of a sequence, or the entries of a map.
#[derive(Debug)]
pub(super) struct Items<'e, 'b> {
    encoder: &'e mut Encoder<'b>,
    kind: Kind,
    header: Range<usize>,
    declared: usize,
    count: usize,
    levels: usize,
}

impl Items<'_, '_> {
    fn item<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refusal> {
        self.count += 1;
        value.serialize(&mut *self.encoder)
    }

    fn field<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), Refusal> {
        self.count += 1;
        put::write_str(self.encoder.out, name)?;
        value.serialize(&mut *self.encoder)
    }

    #[inline]
    fn close(self) -> Result<(), Refusal> {
        self.encoder.levels += self.levels;
        if self.count == self.declared { Ok(()) } else { self.correct() }
    }

    /// Rewrites the header. Serde does not know the length of a flattened struct, and a `Serialize`
    /// may announce a wrong length.
    #[cold]
    fn correct(self) -> Result<(), Refusal> {
        let mut header = Vec::new();
        self.kind.put(self.count, &mut header)?;
        self.encoder.out.splice(self.header, header);
        Ok(())
    }
}

/// Implements the methods that write scalars.
macro_rules! scalars {
    ($($method:ident($type:ty) = $put:ident as $wide:ty;)*) => {$(
        #[inline]
        fn $method(self, value: $type) -> Result<(), Refusal> {
            put::$put(self.out, <$wide>::from(value))?;
            Ok(())
        }
    )*};
}

impl<'e, 'b> ser::Serializer for &'e mut Encoder<'b> {
    type Ok = ();
    type Error = Refusal;
    type SerializeSeq = Items<'e, 'b>;
    type SerializeTuple = Items<'e, 'b>;
    type SerializeTupleStruct = Items<'e, 'b>;
    type SerializeTupleVariant = Items<'e, 'b>;
    type SerializeMap = Items<'e, 'b>;
    type SerializeStruct = Items<'e, 'b>;
    type SerializeStructVariant = Items<'e, 'b>;

    scalars! {
        serialize_i8(i8) = write_sint as i64;
        serialize_i16(i16) = write_sint as i64;
        serialize_i32(i32) = write_sint as i64;
        serialize_i64(i64) = write_sint as i64;
        serialize_u8(u8) = write_uint as u64;
        serialize_u16(u16) = write_uint as u64;
        serialize_u32(u32) = write_uint as u64;
        serialize_u64(u64) = write_uint as u64;
        serialize_f32(f32) = write_f32 as f32;
        serialize_f64(f64) = write_f64 as f64;
    }

    #[inline]
    fn serialize_bool(self, value: bool) -> Result<(), Refusal> {
        self.marker(if value { Marker::True } else { Marker::False });
        Ok(())
    }

    fn serialize_i128(self, value: i128) -> Result<(), Refusal> {
        match i64::try_from(value) {
            Ok(small) => self.serialize_i64(small),
            Err(_) => Ok(put::write_bin(self.out, &value.to_be_bytes())?),
        }
    }

    fn serialize_u128(self, value: u128) -> Result<(), Refusal> {
        match u64::try_from(value) {
            Ok(small) => self.serialize_u64(small),
            Err(_) => Ok(put::write_bin(self.out, &value.to_be_bytes())?),
        }
    }

    fn serialize_char(self, value: char) -> Result<(), Refusal> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    #[inline]
    fn serialize_str(self, value: &str) -> Result<(), Refusal> {
        Ok(put::write_str(self.out, value)?)
    }

    /// Writes a sequence, as JSON does, because a type may write bytes and read a sequence.
    fn serialize_bytes(self, value: &[u8]) -> Result<(), Refusal> {
        Kind::Sequence.put(value.len(), self.out)?;
        value.iter().try_for_each(|byte| self.serialize_u8(*byte))
    }

    #[inline]
    fn serialize_none(self) -> Result<(), Refusal> {
        self.serialize_unit()
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Refusal> {
        let begin = self.out.len();
        value.serialize(&mut *self)?;
        if self.out[begin..] == [Marker::Null.to_u8()] { Err(Refusal::Lost) } else { Ok(()) }
    }

    #[inline]
    fn serialize_unit(self) -> Result<(), Refusal> {
        self.marker(Marker::Null);
        Ok(())
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), Refusal> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<(), Refusal> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Refusal> {
        if UNREADABLE.contains(&name) { Err(Refusal::Unreadable) } else { value.serialize(self) }
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Refusal> {
        self.variant(variant)?;
        value.serialize(&mut *self)?;
        self.levels += 1;
        Ok(())
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<Items<'e, 'b>, Refusal> {
        self.items(Kind::Sequence, length)
    }

    fn serialize_tuple(self, length: usize) -> Result<Items<'e, 'b>, Refusal> {
        self.items(Kind::Sequence, Some(length))
    }

    fn serialize_tuple_struct(
        self,
        _name: &'static str,
        length: usize,
    ) -> Result<Items<'e, 'b>, Refusal> {
        self.items(Kind::Sequence, Some(length))
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Items<'e, 'b>, Refusal> {
        self.variant_items(variant, Kind::Sequence, length)
    }

    fn serialize_map(self, length: Option<usize>) -> Result<Items<'e, 'b>, Refusal> {
        self.items(Kind::Map, length)
    }

    #[inline]
    fn serialize_struct(self, name: &'static str, length: usize) -> Result<Items<'e, 'b>, Refusal> {
        if UNREADABLE.contains(&name) {
            return Err(Refusal::Unreadable);
        }
        self.items(Kind::Map, Some(length))
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Items<'e, 'b>, Refusal> {
        self.variant_items(variant, Kind::Map, length)
    }
}

/// Implements serde's traits for types with items and for types with named fields.
macro_rules! compounds {
    ($($trait:ident: $method:ident($($name:ident)?) = $put:ident;)*) => {$(
        impl ser::$trait for Items<'_, '_> {
            type Ok = ();
            type Error = Refusal;

            fn $method<T: Serialize + ?Sized>(
                &mut self,
                $($name: &'static str,)?
                value: &T,
            ) -> Result<(), Refusal> {
                self.$put($($name,)? value)
            }

            #[inline]
            fn end(self) -> Result<(), Refusal> {
                self.close()
            }
        }
    )*};
}

compounds! {
    SerializeSeq: serialize_element() = item;
    SerializeTuple: serialize_element() = item;
    SerializeTupleStruct: serialize_field() = item;
    SerializeTupleVariant: serialize_field() = item;
    SerializeStruct: serialize_field(name) = field;
    SerializeStructVariant: serialize_field(name) = field;
}

impl ser::SerializeMap for Items<'_, '_> {
    type Ok = ();
    type Error = Refusal;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Refusal> {
        self.item(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refusal> {
        value.serialize(&mut *self.encoder)
    }

    fn end(self) -> Result<(), Refusal> {
        self.close()
    }
}
