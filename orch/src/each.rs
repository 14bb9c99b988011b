//! Sources of maps, and conversion of handles inside a mapped group to handles outside.

use crate::arg::{Mapped, NO_TASK, Node, Output, Wire};
use serde::Serialize;

/// A list that is known now or at run time. `I` is the closure's argument for one element.
#[diagnostic::on_unimplemented(
    message = "cannot map over `{Self}`",
    label = "not a list of elements",
    note = "map over an `Output<Vec<T>>`, a `Mapped<T>`, a `Vec<T>`, an array, `zip(a, b)` or `cross(a, b)`"
)]
pub trait Each<'d, I> {
    #[doc(hidden)]
    fn over(self) -> Over;
    /// Returns the handle of one element of map number `map`.
    #[doc(hidden)]
    fn element(map: usize, part: Option<usize>) -> I;
}

#[derive(Debug, Clone)]
pub enum Over {
    #[doc(hidden)]
    Each(Wire),
    #[doc(hidden)]
    Zip(Vec<Wire>),
    #[doc(hidden)]
    Cross(Vec<Wire>),
}

#[diagnostic::do_not_recommend]
impl<'d, T> Each<'d, Output<'d, T>> for Output<'d, Vec<T>> {
    fn over(self) -> Over {
        Over::Each(self.node.wire())
    }
    fn element(map: usize, part: Option<usize>) -> Output<'d, T> {
        Output::new(Node::Element { map, part })
    }
}

#[diagnostic::do_not_recommend]
impl<'d, T> Each<'d, Output<'d, T>> for Mapped<'d, T> {
    fn over(self) -> Over {
        Over::Each(Wire::Tasks(self.task))
    }
    fn element(map: usize, part: Option<usize>) -> Output<'d, T> {
        Output::new(Node::Element { map, part })
    }
}

#[diagnostic::do_not_recommend]
impl<'d, T: Serialize> Each<'d, Output<'d, T>> for Vec<T> {
    fn over(self) -> Over {
        Over::Each(Wire::Value(serde_json::to_value(self).map_err(|e| e.to_string())))
    }
    fn element(map: usize, part: Option<usize>) -> Output<'d, T> {
        Output::new(Node::Element { map, part })
    }
}

#[diagnostic::do_not_recommend]
impl<'d, T: Serialize, const N: usize> Each<'d, Output<'d, T>> for [T; N] {
    fn over(self) -> Over {
        Vec::from(self).over()
    }
    fn element(map: usize, part: Option<usize>) -> Output<'d, T> {
        Output::new(Node::Element { map, part })
    }
}

/// Pairs the elements of two lists by index. Lists of different length fail the expansion, with both lengths in the
/// message.
pub fn zip<A, B>(a: A, b: B) -> Zip<A, B> {
    Zip(a, b)
}

/// Combines each element of `a` with each of `b`. The index of `b` varies fastest.
pub fn cross<A, B>(a: A, b: B) -> Cross<A, B> {
    Cross(a, b)
}

pub struct Zip<A, B>(A, B);
pub struct Cross<A, B>(A, B);

#[diagnostic::do_not_recommend]
impl<'d, T, U, A, B> Each<'d, (Output<'d, T>, Output<'d, U>)> for Zip<A, B>
where
    A: Each<'d, Output<'d, T>>,
    B: Each<'d, Output<'d, U>>,
{
    fn over(self) -> Over {
        Over::Zip([self.0.over().wires(), self.1.over().wires()].concat())
    }
    fn element(map: usize, _: Option<usize>) -> (Output<'d, T>, Output<'d, U>) {
        (A::element(map, Some(0)), B::element(map, Some(1)))
    }
}

#[diagnostic::do_not_recommend]
impl<'d, T, U, A, B> Each<'d, (Output<'d, T>, Output<'d, U>)> for Cross<A, B>
where
    A: Each<'d, Output<'d, T>>,
    B: Each<'d, Output<'d, U>>,
{
    fn over(self) -> Over {
        Over::Cross([self.0.over().wires(), self.1.over().wires()].concat())
    }
    fn element(map: usize, _: Option<usize>) -> (Output<'d, T>, Output<'d, U>) {
        (A::element(map, Some(0)), B::element(map, Some(1)))
    }
}

impl Over {
    fn wires(self) -> Vec<Wire> {
        match self {
            Over::Each(wire) => vec![wire],
            Over::Zip(wires) | Over::Cross(wires) => wires,
        }
    }
}

/// Result of a mapped group: each `Output<T>` of its closure becomes a `Mapped<T>` outside.
#[diagnostic::on_unimplemented(
    message = "a mapped group cannot give `{Self}`",
    note = "give an `Output`, an array or a tuple of `Output`s, or `()`; a map inside a mapped group is not supported"
)]
pub trait Lift<'d> {
    type Lifted;
    #[doc(hidden)]
    fn lift(self) -> Self::Lifted;
}

#[diagnostic::do_not_recommend]
impl Lift<'_> for () {
    type Lifted = ();
    fn lift(self) {}
}

#[diagnostic::do_not_recommend]
impl<'d, T> Lift<'d> for Output<'d, T> {
    type Lifted = Mapped<'d, T>;
    fn lift(self) -> Mapped<'d, T> {
        match self.node {
            Node::Task(task) => Mapped::new(task),
            Node::Collected(_) | Node::Element { .. } => Mapped::new(NO_TASK),
        }
    }
}

#[diagnostic::do_not_recommend]
impl<'d, A: Lift<'d>, const N: usize> Lift<'d> for [A; N] {
    type Lifted = [A::Lifted; N];
    fn lift(self) -> Self::Lifted {
        self.map(Lift::lift)
    }
}

macro_rules! lift_tuples {
    ($(($($name:ident)+))+) => {$(
        #[diagnostic::do_not_recommend]
        impl<'d, $($name: Lift<'d>),+> Lift<'d> for ($($name,)+) {
            type Lifted = ($($name::Lifted,)+);
            #[expect(non_snake_case, reason = "the types' names serve for the values too")]
            fn lift(self) -> Self::Lifted {
                let ($($name,)+) = self;
                ($($name.lift(),)+)
            }
        }
    )+};
}
lift_tuples! { (A) (A B) (A B C) (A B C D) (A B C D E) (A B C D E F) }
