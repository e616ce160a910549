//! The walk over a conversation's JSON, the same whether texts are kept or only counted.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::Turn;

/// What a walk does with a text: keep it, or only see that it is one.
pub(super) trait Text: Default {
    fn of(text: &str) -> Self;
}

impl Text for String {
    fn of(text: &str) -> Self {
        text.to_owned()
    }
}

impl Text for () {
    fn of(_: &str) -> Self {}
}

/// What a walk makes of the turns.
pub(super) trait Gather: Default {
    type Text: Text;
    fn turn(&mut self, turn: Fields<Self::Text>);
}

impl Gather for Vec<Turn> {
    type Text = String;
    fn turn(&mut self, turn: Fields<String>) {
        self.push(Turn {
            message_id: turn.message_id,
            index: turn.index,
            user_message: turn.user_message.unwrap_or_default(),
            model_message: turn.model_message,
        });
    }
}

#[derive(Default)]
pub(super) struct Count(pub(super) u32);

impl Gather for Count {
    type Text = ();
    fn turn(&mut self, _: Fields<()>) {
        self.0 = self.0.saturating_add(1);
    }
}

#[derive(Default)]
pub(super) struct Fields<T> {
    message_id: T,
    index: Option<i64>,
    user_message: Option<T>,
    model_message: Option<T>,
}

/// The position of the turn being read, for the error.
pub(super) type Place<'p> = &'p Cell<Option<u32>>;

pub(super) struct Root<'p, G> {
    pub(super) turn: Place<'p>,
    pub(super) gather: PhantomData<G>,
}

impl<'de, G: Gather> DeserializeSeed<'de> for Root<'_, G> {
    type Value = (G::Text, G);
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de, G: Gather> Visitor<'de> for Root<'_, G> {
    type Value = (G::Text, G);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut id = G::Text::default();
        let mut turns = None;
        while let Some(key) = map.next_key_seed(Key)? {
            match key {
                Name::ConversationId => id = map.next_value_seed(Id(PhantomData))?,
                Name::TurnsArray => {
                    turns = map.next_value_seed(Turns {
                        turn: self.turn,
                        gather: PhantomData,
                    })?;
                    self.turn.set(None);
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        let turns = turns.ok_or_else(|| de::Error::custom("turnsArray is missing or no array"))?;
        Ok((id, turns))
    }
}

enum Name {
    ConversationId,
    TurnsArray,
    MessageId,
    TurnIndex,
    UserMessage,
    ModelMessage,
    Other,
}

struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Name;
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Name, D::Error> {
        json.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Key {
    type Value = Name;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<Name, E> {
        Ok(match key {
            "conversationId" => Name::ConversationId,
            "turnsArray" => Name::TurnsArray,
            "messageId" => Name::MessageId,
            "turnIndex" => Name::TurnIndex,
            "userMessage" => Name::UserMessage,
            "modelMessage" => Name::ModelMessage,
            _ => Name::Other,
        })
    }
}

struct Turns<'p, G> {
    turn: Place<'p>,
    gather: PhantomData<G>,
}

impl<'de, G: Gather> DeserializeSeed<'de> for Turns<'_, G> {
    type Value = Option<G>;
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_any(self)
    }
}

/// Anything but an array is `None`, and an error only if no later `turnsArray` is one.
impl<'de, G: Gather> Visitor<'de> for Turns<'_, G> {
    type Value = Option<G>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of turns")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut turns: A) -> Result<Self::Value, A::Error> {
        let mut gather = G::default();
        let mut position = 0_u32;
        loop {
            self.turn.set(Some(position));
            let Some(fields) = turns.next_element_seed(OneTurn(PhantomData))? else {
                break;
            };
            gather.turn(fields);
            position = position.saturating_add(1);
        }
        Ok(Some(gather))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        drain(map).map(|()| None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }
}

struct OneTurn<T>(PhantomData<T>);

impl<'de, T: Text> DeserializeSeed<'de> for OneTurn<T> {
    type Value = Fields<T>;
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de, T: Text> Visitor<'de> for OneTurn<T> {
    type Value = Fields<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a turn, which is a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Fields {
            message_id: T::default(),
            index: None,
            user_message: None,
            model_message: None,
        };
        while let Some(key) = map.next_key_seed(Key)? {
            match key {
                Name::MessageId => fields.message_id = map.next_value_seed(Id(PhantomData))?,
                Name::TurnIndex => fields.index = map.next_value_seed(Index)?,
                Name::UserMessage => {
                    fields.user_message =
                        map.next_value_seed(Message("userMessage", PhantomData))?;
                }
                Name::ModelMessage => {
                    fields.model_message =
                        map.next_value_seed(Message("modelMessage", PhantomData))?;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(fields)
    }
}

struct Message<T>(&'static str, PhantomData<T>);

impl<'de, T: Text> DeserializeSeed<'de> for Message<T> {
    type Value = Option<T>;
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<T: Text> Visitor<'_> for Message<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "text or null as {}", self.0)
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(T::of(text)))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// An id joins labels to their turns; what is neither text nor number counts as missing.
struct Id<T>(PhantomData<T>);

impl<'de, T: Text> DeserializeSeed<'de> for Id<T> {
    type Value = T;
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<T, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de, T: Text> Visitor<'de> for Id<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an id")
    }

    fn visit_str<E>(self, id: &str) -> Result<T, E> {
        Ok(T::of(id))
    }

    fn visit_i64<E>(self, id: i64) -> Result<T, E> {
        Ok(T::of(&id.to_string()))
    }

    fn visit_u64<E>(self, id: u64) -> Result<T, E> {
        Ok(T::of(&id.to_string()))
    }

    fn visit_f64<E>(self, id: f64) -> Result<T, E> {
        Ok(T::of(&id.to_string()))
    }

    fn visit_unit<E>(self) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_bool<E>(self, _: bool) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<T, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(T::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        drain(map).map(|()| T::default())
    }
}

struct Index;

impl<'de> DeserializeSeed<'de> for Index {
    type Value = Option<i64>;
    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Index {
    type Value = Option<i64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a turn's index")
    }

    fn visit_i64<E>(self, index: i64) -> Result<Self::Value, E> {
        Ok(Some(index))
    }

    fn visit_u64<E>(self, index: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(index).ok())
    }

    /// A column with gaps leaves a data frame as `3.0`.
    fn visit_f64<E>(self, index: f64) -> Result<Self::Value, E> {
        const EXACT: f64 = 9_007_199_254_740_992.0;
        let whole = index.fract() == 0.0 && index.abs() <= EXACT;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "checked: whole, and below 2^53"
        )]
        Ok(whole.then_some(index as i64))
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        drain(map).map(|()| None)
    }
}

fn drain<'de, A: MapAccess<'de>>(mut map: A) -> Result<(), A::Error> {
    while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
    Ok(())
}
