//! Positions, from left to right. Each group is laid out as a separate graph and then placed as a single box in the
//! surrounding graph, so that boxes never overlap nodes that do not belong to them.

use super::Graph;
use super::level::{Block, Level, LevelItem};
use orch_store::narrow;
use std::collections::HashMap;
use std::fmt::Write as _;

/// Margin around the whole graph.
const MARGIN: i32 = 18;
pub(super) const NODE_WIDTH: i32 = 158;
pub(super) const NODE_HEIGHT: i32 = 44;
/// Width of a character of a label at 12 px, rounded up.
const LETTER_WIDTH: i32 = 7;
/// Horizontal padding of a label, including the state icon.
const LABEL_ROOM: i32 = 42;
/// Padding inside a group. The name of the group is above its nodes.
const GROUP_SIDE: i32 = 14;
const GROUP_TOP: i32 = 34;
const GROUP_BOTTOM: i32 = 16;
/// Distance by which the curve of a backward edge extends.
const SWING: i32 = 60;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rect {
    pub x: i32,
    pub y: i32,
    pub width: i32,
    pub height: i32,
}

/// The path of an edge, in the order of `Graph::edges`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wire {
    /// Value of the `d` attribute of an SVG path.
    pub path: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout {
    pub width: i32,
    pub height: i32,
    pub nodes: Vec<Rect>,
    /// A group without tasks has a size of zero.
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

    fn turned(self) -> Rect {
        Rect { x: self.y, y: self.x, width: self.height, height: self.width }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Flow {
    #[default]
    Right,
    Down,
}

/// Lays out a graph from left to right.
pub fn lay_out(graph: &Graph) -> Layout {
    lay_out_along(graph, Flow::Right)
}

/// Lays out a graph in either direction. Top-down graphs are laid out from left to right with transposed sizes and
/// transposed back.
pub fn lay_out_along(graph: &Graph, flow: Flow) -> Layout {
    let mut layout = Layout {
        nodes: vec![Rect::default(); graph.nodes.len()],
        groups: vec![Rect::default(); graph.groups.len()],
        ..Layout::default()
    };
    let block = block(graph, None, flow);
    let mut bends: HashMap<usize, Vec<Rect>> = HashMap::new();
    spread(&block, (MARGIN, MARGIN), &mut layout, &mut bends);
    (layout.width, layout.height) = (block.width + 2 * MARGIN, block.height + 2 * MARGIN);
    let wires = graph.edges.iter().enumerate().map(|(at, edge)| {
        let (from, to) = (layout.nodes[edge.from], layout.nodes[edge.to]);
        let bends = bends.get(&at).filter(|_| from.right() < to.x);
        wire(from, to, bends.map_or(&[], Vec::as_slice), flow)
    });
    layout.wires = wires.collect();
    if flow == Flow::Down {
        (layout.width, layout.height) = (layout.height, layout.width);
        layout.nodes.iter_mut().chain(&mut layout.groups).for_each(|rect| *rect = rect.turned());
    }
    layout
}

/// Lays out the direct contents of a group, or those outside of all groups.
fn block(graph: &Graph, group: Option<usize>, flow: Flow) -> Block {
    let mut level = Level::default();
    let inside = |(_, inner): &(usize, &super::Group)| inner.parent == group;
    for (at, _) in graph.groups.iter().enumerate().filter(inside) {
        let inner = block(graph, Some(at), flow);
        if inner.width > 0 {
            level.add(framed(at, inner, flow));
        }
    }
    let label = |node: &super::Node| narrow::int(node.label.chars().count().max(node.detail.chars().count()));
    for (at, node) in graph.nodes.iter().enumerate().filter(|(_, node)| node.group == group) {
        let width = NODE_WIDTH.max(label(node) * LETTER_WIDTH + LABEL_ROOM);
        let rect = Rect { x: 0, y: 0, width, height: NODE_HEIGHT };
        level.add(LevelItem::of_node(at, if flow == Flow::Down { rect.turned() } else { rect }));
    }
    for (at, edge) in graph.edges.iter().enumerate() {
        level.connect(at, edge.from, edge.to);
    }
    level.lay_out()
}

/// Adds the frame of a group around its block.
fn framed(group: usize, mut inner: Block, flow: Flow) -> LevelItem {
    let (sides, ends) = (2 * GROUP_SIDE, GROUP_TOP + GROUP_BOTTOM);
    let (width, height) = match flow {
        Flow::Right => {
            inner.shift(GROUP_SIDE, GROUP_TOP);
            (inner.width + sides, inner.height + ends)
        }
        Flow::Down => {
            inner.shift(GROUP_TOP, GROUP_SIDE);
            // The name of the group and its number of tasks are next to each other, which needs this width.
            (inner.width + ends, (inner.height + sides).max(NODE_WIDTH))
        }
    };
    inner.groups.push((group, Rect { x: 0, y: 0, width, height }));
    (inner.width, inner.height) = (width, height);
    LevelItem { block: inner }
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

/// Returns the path from the right side of one node to the left side of another, through `bends`.
fn wire(from: Rect, to: Rect, bends: &[Rect], flow: Flow) -> Wire {
    let point = |x: i32, y: i32| match flow {
        Flow::Right => format!("{x} {y}"),
        Flow::Down => format!("{y} {x}"),
    };
    let straight = if flow == Flow::Right { 'H' } else { 'V' };
    let (mut x, mut y) = (from.right(), from.middle());
    let mut path = format!("M{}", point(x, y));
    for bend in bends.iter().chain([&Rect { width: 0, y: to.middle(), height: 0, x: to.x }]) {
        let (left, middle) = (bend.x, bend.middle());
        let (out, back) =
            if left >= x { (i32::midpoint(x, left), i32::midpoint(x, left)) } else { (x + SWING, left - SWING) };
        write!(path, "C{} {} {}", point(out, y), point(back, middle), point(left, middle))
            .expect("writing to a string cannot fail");
        if bend.width > 0 {
            write!(path, "{straight}{}", bend.right()).expect("writing to a string cannot fail");
        }
        (x, y) = (bend.right(), middle);
    }
    Wire { path }
}
