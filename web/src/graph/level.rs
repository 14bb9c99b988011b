//! One level of the graph: nodes and boxes next to each other. The longest path determines the rank, barycenters the
//! order within a rank, and connected items the vertical position.

use super::layout::Rect;
use super::order::Layers;
use super::place;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Distance between two ranks.
const RANK_GAP: i32 = 44;
/// Maximum number of bends. In a graph that needs more, long edges are drawn as straight lines.
const MOST_BENDS: usize = 20_000;

/// The layout of an item, relative to its own top left corner.
#[derive(Debug, Clone, Default)]
pub(super) struct Block {
    pub(super) width: i32,
    pub(super) height: i32,
    pub(super) nodes: Vec<(usize, Rect)>,
    pub(super) groups: Vec<(usize, Rect)>,
    /// The positions at which edges cross ranks, by edge, from left to right.
    pub(super) bends: Vec<(usize, Vec<Rect>)>,
}

#[derive(Debug, Clone)]
pub(super) struct LevelItem {
    pub(super) block: Block,
}

#[derive(Debug, Default)]
pub(super) struct Level {
    items: Vec<LevelItem>,
    /// The item that contains a node.
    places: HashMap<usize, usize>,
    /// Edges between two items.
    arcs: BTreeMap<(usize, usize), Vec<Arc>>,
    /// Edges from and to items outside of this level, by the item and the vertical offset from its top.
    enters: BTreeMap<(usize, i32), Vec<usize>>,
    leaves: BTreeMap<(usize, i32), Vec<usize>>,
}

/// An edge between two items, with the vertical offsets of its ends from the tops of the items.
#[derive(Debug, Clone, Copy)]
struct Arc {
    edge: usize,
    from: i32,
    to: i32,
}

/// The route of edges through the vertices of the ranks that they cross, one vertex per rank.
#[derive(Debug)]
struct Way {
    edges: Vec<usize>,
    out: i32,
    into: i32,
    vertices: Vec<usize>,
}

impl Block {
    pub(super) fn shift(&mut self, x: i32, y: i32) {
        let rects = self.nodes.iter_mut().chain(&mut self.groups).map(|(_, rect)| rect);
        for rect in rects.chain(self.bends.iter_mut().flat_map(|(_, rects)| rects)) {
            (rect.x, rect.y) = (rect.x + x, rect.y + y);
        }
    }

    fn take(&mut self, other: Block) {
        self.nodes.extend(other.nodes);
        self.groups.extend(other.groups);
        self.bends.extend(other.bends);
    }
}

impl LevelItem {
    pub(super) fn of_node(node: usize, rect: Rect) -> LevelItem {
        LevelItem {
            block: Block { width: rect.width, height: rect.height, nodes: vec![(node, rect)], ..Block::default() },
        }
    }

    /// Returns the width of a node, or 0 for a box.
    fn node_width(&self) -> i32 {
        if self.block.groups.is_empty() { self.block.width } else { 0 }
    }

    /// Returns the vertical offset at which an edge enters: at its first bend in this item, or at its node.
    fn entry(&self, edge: usize, node: usize) -> i32 {
        self.passes(edge).min_by_key(|rect| rect.x).map_or_else(|| self.middle_of(node), Rect::middle)
    }

    fn exit(&self, edge: usize, node: usize) -> i32 {
        self.passes(edge).max_by_key(|rect| rect.x).map_or_else(|| self.middle_of(node), Rect::middle)
    }

    fn passes(&self, edge: usize) -> impl Iterator<Item = &Rect> {
        self.block.bends.iter().filter(move |(of, _)| *of == edge).flat_map(|(_, rects)| rects)
    }

    fn middle_of(&self, node: usize) -> i32 {
        self.block.nodes.iter().find(|(n, _)| *n == node).map_or(0, |(_, rect)| rect.middle())
    }

    /// Returns the first node in the order of the DAG.
    fn first(&self) -> usize {
        self.block.nodes.iter().map(|(node, _)| *node).min().unwrap_or(usize::MAX)
    }
}

impl Level {
    /// Adds an item. Items are sorted by their first node in the order of the DAG.
    pub(super) fn add(&mut self, item: LevelItem) {
        let at = self.items.partition_point(|other| other.first() < item.first());
        self.items.insert(at, item);
        self.places.clear();
    }

    /// Adds an edge that has at least one end in this level.
    pub(super) fn connect(&mut self, edge: usize, from: usize, to: usize) {
        if self.places.is_empty() {
            let places = self.items.iter().enumerate();
            self.places =
                places.flat_map(|(at, item)| item.block.nodes.iter().map(move |(node, _)| (*node, at))).collect();
        }
        match (self.places.get(&from).copied(), self.places.get(&to).copied()) {
            (Some(a), Some(b)) if a != b => {
                let (from, to) = (self.items[a].exit(edge, from), self.items[b].entry(edge, to));
                self.arcs.entry((a, b)).or_default().push(Arc { edge, from, to });
            }
            (Some(a), None) => {
                let exit = self.items[a].exit(edge, from);
                self.leaves.entry((a, exit)).or_default().push(edge);
            }
            (None, Some(b)) => {
                let entry = self.items[b].entry(edge, to);
                self.enters.entry((b, entry)).or_default().push(edge);
            }
            _ => {}
        }
    }

    pub(super) fn lay_out(self) -> Block {
        let (ranks, forward) = self.ranks();
        let mut layers = Layers::new(&ranks);
        let ways = self.ways(&ranks, &forward, &mut layers);
        for way in &ways {
            way.vertices.windows(2).for_each(|hop| layers.connect(hop[0], hop[1]));
        }
        layers.untangle();
        let mut heights: Vec<i32> = self.items.iter().map(|item| item.block.height).collect();
        heights.resize(layers.len(), 0);
        let is_item = |vertex: usize| vertex < self.items.len();
        let hops = ways.iter().flat_map(|way| {
            way.vertices.windows(2).map(|hop| place::Hop {
                from: hop[0],
                to: hop[1],
                out: if is_item(hop[0]) { way.out } else { 0 },
                into: if is_item(hop[1]) { way.into } else { 0 },
            })
        });
        let tops = place::tops(layers.ranks(), &heights, self.items.len(), &hops.collect::<Vec<_>>());
        self.assemble(&ranks, layers.ranks(), &tops, &ways)
    }

    /// Adds a vertex for each rank that an edge crosses. Edges that enter or leave the level at the same offset of an
    /// item share a route.
    fn ways(&self, ranks: &[usize], forward: &[(usize, usize)], layers: &mut Layers) -> Vec<Way> {
        let last = ranks.iter().copied().max().unwrap_or(0);
        let passed: usize = forward.iter().map(|&(a, b)| (ranks[b] - ranks[a] - 1) * self.arcs[&(a, b)].len()).sum();
        let has_bends = passed <= MOST_BENDS;
        let mut ways = Vec::new();
        for &(a, b) in forward {
            for &Arc { edge, from, to } in &self.arcs[&(a, b)] {
                let between = if has_bends { ranks[a] + 1..ranks[b] } else { 0..0 };
                let vertices = [a].into_iter().chain(between.map(|rank| layers.add(rank))).chain([b]).collect();
                ways.push(Way { edges: vec![edge], out: from, into: to, vertices });
            }
        }
        if !has_bends {
            return ways;
        }
        for (&(b, into), edges) in self.enters.iter().filter(|((b, _), _)| ranks[*b] > 0) {
            let vertices = (0..ranks[b]).map(|rank| layers.add(rank)).chain([b]).collect();
            ways.push(Way { edges: edges.clone(), out: 0, into, vertices });
        }
        for (&(a, out), edges) in self.leaves.iter().filter(|((a, _), _)| ranks[*a] < last) {
            let vertices = [a].into_iter().chain((ranks[a] + 1..=last).map(|rank| layers.add(rank))).collect();
            ways.push(Way { edges: edges.clone(), out, into: 0, vertices });
        }
        ways
    }

    /// Returns the rank of each item and the forward edges. Two boxes may depend on each other, although tasks cannot:
    /// an edge that closes a cycle runs backward.
    fn ranks(&self) -> (Vec<usize>, Vec<(usize, usize)>) {
        let mut waits = vec![0; self.items.len()];
        self.arcs.keys().for_each(|&(_, b)| waits[b] += 1);
        let mut left: BTreeSet<usize> = (0..self.items.len()).collect();
        let mut free: BTreeSet<usize> = left.iter().copied().filter(|&item| waits[item] == 0).collect();
        let (mut ranks, mut forward) = (vec![0; self.items.len()], Vec::new());
        while let Some(item) = free.pop_first().or_else(|| left.first().copied()) {
            left.remove(&item);
            for (&(a, b), _) in self.arcs.range((item, 0)..=(item, usize::MAX)) {
                waits[b] -= 1;
                if left.contains(&b) {
                    ranks[b] = ranks[b].max(ranks[a] + 1);
                    forward.push((a, b));
                    if waits[b] == 0 {
                        free.insert(b);
                    }
                }
            }
        }
        (ranks, forward)
    }

    fn assemble(self, ranks: &[usize], order: &[Vec<usize>], tops: &[i32], ways: &[Way]) -> Block {
        let widest = |rank: &Vec<usize>, of: fn(&LevelItem) -> i32| {
            rank.iter().filter_map(|&vertex| self.items.get(vertex)).map(of).max().unwrap_or(0)
        };
        let widths: Vec<i32> = order.iter().map(|rank| widest(rank, |item| item.block.width)).collect();
        let node_widths: Vec<i32> = order.iter().map(|rank| widest(rank, LevelItem::node_width)).collect();
        let mut lefts = Vec::with_capacity(widths.len());
        let mut right = -RANK_GAP;
        for width in &widths {
            lefts.push(right + RANK_GAP);
            right += RANK_GAP + width;
        }
        let rank_of: HashMap<usize, usize> =
            order.iter().enumerate().flat_map(|(rank, vertices)| vertices.iter().map(move |&v| (v, rank))).collect();
        let bend = |v: &usize| Rect { x: lefts[rank_of[v]], y: tops[*v], width: widths[rank_of[v]], height: 0 };
        let mut block = Block { width: right.max(0), ..Block::default() };
        block.height = tops.iter().copied().max().unwrap_or(0);
        for way in ways {
            let bends: Vec<Rect> = way.vertices.iter().filter(|v| **v >= self.items.len()).map(bend).collect();
            if !bends.is_empty() {
                block.bends.extend(way.edges.iter().map(|&edge| (edge, bends.clone())));
            }
        }
        for (at, item) in self.items.into_iter().enumerate() {
            let mut inner = item.block;
            if let ([(_, rect)], []) = (inner.nodes.as_mut_slice(), inner.groups.as_slice()) {
                rect.width = node_widths[ranks[at]]; // all nodes of a rank have the same width
            }
            block.height = block.height.max(tops[at] + inner.height);
            inner.shift(lefts[ranks[at]], tops[at]);
            block.take(inner);
        }
        block
    }
}
