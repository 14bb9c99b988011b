//! `update_mask`: the fields of a body that are applied. An empty mask contains all fields.

use crate::extract::{ParamType, Query, query_params};
use crate::openapi::kinds::QueryParamType;
use orch_wire::Body;
use std::borrow::Cow;
use std::marker::PhantomData;

/// A body whose fields can be masked.
pub(crate) trait Masked {
    fn fields() -> Cow<'static, [&'static str]>;
}

impl<B: Body> Masked for B {
    fn fields() -> Cow<'static, [&'static str]> {
        B::FIELDS.into()
    }
}

query_params! {
    pub(crate) struct MaskParams<B: Masked> {
        /// Only these fields of the body count
        update_mask: MaskOf<B>,
    }
}

pub(crate) struct MaskOf<B>(PhantomData<B>);

impl<B: Masked> ParamType for MaskOf<B> {
    type Value = Vec<String>;

    fn kind() -> QueryParamType {
        QueryParamType::Words(B::fields())
    }

    fn read(query: &mut Query, name: &'static str) -> Vec<String> {
        Vec::<String>::read(query, name)
    }
}
