//! Where everything stands, left to right: a group is laid out like a graph of its own and then stands in the graph
//! around it as one box, so that nothing ever lies on what does not belong to it.

use super::Graph;
use super::level::{Block, Item, Level};
use std::collections::HashMap;
use std::fmt::Write as _;

/// Free room around all of it.
const MARGIN: i32 = 18;
pub(super) const NODE_WIDTH: i32 = 158;
pub(super) const NODE_HEIGHT: i32 = 44;
/// A letter of a label at 12 px, on the wide side.
const LETTER_WIDTH: i32 = 7;
/// Left and right of a label, with room for the icon of a state.
const LABEL_ROOM: i32 = 42;
/// Around what stands in a group; above it stands its name.
const GROUP_SIDE: i32 = 14;
const GROUP_TOP: i32 = 34;
const GROUP_BOTTOM: i32 = 16;
/// How far a wire that runs back swings out.
const SWING: i32 = 60;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rect {
    pub x: i32,
    pub y: i32,
    pub width: i32,
    pub height: i32,
}

/// The way of an edge, in the order of `Graph::edges`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wire {
    /// For the `d` of a path.
    pub path: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout {
    pub width: i32,
    pub height: i32,
    pub nodes: Vec<Rect>,
    /// A group in which nothing stands has no size.
    pub groups: Vec<Rect>,
    pub wires: Vec<Wire>,
}

impl Rect {
    pub fn right(&self) -> i32 {
        self.x + self.width
    }

    pub fn bottom(&self) -> i32 {
        self.y + self.height
    }

    pub fn middle(&self) -> i32 {
        self.y + self.height / 2
    }
}

/// Places all nodes, groups and wires.
pub fn lay_out(graph: &Graph) -> Layout {
    let mut layout = Layout {
        nodes: vec![Rect::default(); graph.nodes.len()],
        groups: vec![Rect::default(); graph.groups.len()],
        ..Layout::default()
    };
    let block = block(graph, None);
    let mut bends: HashMap<usize, Vec<Rect>> = HashMap::new();
    spread(&block, (MARGIN, MARGIN), &mut layout, &mut bends);
    (layout.width, layout.height) = (block.width + 2 * MARGIN, block.height + 2 * MARGIN);
    let wires = graph.edges.iter().enumerate().map(|(at, edge)| {
        let (from, to) = (layout.nodes[edge.from], layout.nodes[edge.to]);
        let bends = bends.get(&at).filter(|_| from.right() < to.x);
        wire(from, to, bends.map_or(&[], Vec::as_slice))
    });
    layout.wires = wires.collect();
    layout
}

/// What stands in a group, or outside all of them.
fn block(graph: &Graph, group: Option<usize>) -> Block {
    let mut level = Level::default();
    let inside = |(_, inner): &(usize, &super::Group)| inner.parent == group;
    for (at, _) in graph.groups.iter().enumerate().filter(inside) {
        let inner = block(graph, Some(at));
        if inner.width > 0 {
            level.add(framed(at, inner));
        }
    }
    let label = |node: &super::Node| node.label.chars().count().max(node.detail.chars().count()) as i32;
    for (at, node) in graph.nodes.iter().enumerate().filter(|(_, node)| node.group == group) {
        let width = NODE_WIDTH.max(label(node) * LETTER_WIDTH + LABEL_ROOM);
        level.add(Item::of_node(at, Rect { x: 0, y: 0, width, height: NODE_HEIGHT }));
    }
    for (at, edge) in graph.edges.iter().enumerate() {
        level.connect(at, edge.from, edge.to);
    }
    level.lay_out()
}

/// A block with the frame of its group around it.
fn framed(group: usize, mut inner: Block) -> Item {
    inner.shift(GROUP_SIDE, GROUP_TOP);
    let (width, height) = (inner.width + 2 * GROUP_SIDE, inner.height + GROUP_TOP + GROUP_BOTTOM);
    inner.groups.push((group, Rect { x: 0, y: 0, width, height }));
    (inner.width, inner.height) = (width, height);
    Item { block: inner }
}

fn spread(block: &Block, (x, y): (i32, i32), layout: &mut Layout, bends: &mut HashMap<usize, Vec<Rect>>) {
    let at = |rect: &Rect| Rect { x: rect.x + x, y: rect.y + y, ..*rect };
    block.nodes.iter().for_each(|(node, rect)| layout.nodes[*node] = at(rect));
    block.groups.iter().for_each(|(group, rect)| layout.groups[*group] = at(rect));
    for (edge, rects) in &block.bends {
        bends.entry(*edge).or_default().extend(rects.iter().map(at));
    }
    bends.values_mut().for_each(|rects| rects.sort_by_key(|rect| rect.x));
}

/// From the right side of one node to the left side of another, straight through its `bends`.
fn wire(from: Rect, to: Rect, bends: &[Rect]) -> Wire {
    let (mut x, mut y) = (from.right(), from.middle());
    let mut path = format!("M{x} {y}");
    for bend in bends.iter().chain([&Rect { width: 0, y: to.middle(), height: 0, x: to.x }]) {
        let (left, middle) = (bend.x, bend.middle());
        let (out, back) =
            if left >= x { (i32::midpoint(x, left), i32::midpoint(x, left)) } else { (x + SWING, left - SWING) };
        write!(path, "C{out} {y} {back} {middle} {left} {middle}").expect("writing to a string cannot fail");
        if bend.width > 0 {
            write!(path, "H{}", bend.right()).expect("writing to a string cannot fail");
        }
        (x, y) = (bend.right(), middle);
    }
    Wire { path }
}
