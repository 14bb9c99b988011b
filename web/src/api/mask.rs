//! `update_mask`: which fields of a body count. An empty mask names all.

use crate::extract::{ParamType, Query, query_params};
use crate::openapi::kinds::QueryParamType;
use orch_wire::Body;
use std::borrow::Cow;
use std::marker::PhantomData;

/// A body whose fields a mask names.
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

/// Names of fields of that body.
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
