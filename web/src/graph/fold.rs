//! Folds each group into a single node, which keeps the graph of a large DAG readable.

use super::{Edge, Graph, Node};
use std::collections::{BTreeMap, HashMap};

impl Graph {
    /// Replaces the tasks of each selected group by a single node. If groups are nested, the outermost selected group
    /// is folded.
    #[must_use]
    pub fn fold(self, is_meant: impl Fn(&str) -> bool) -> Graph {
        let Graph { nodes, edges, groups } = self;
        let outermost = |group: Option<usize>| {
            let around = std::iter::successors(group, |&at| groups[at].parent);
            around.filter(|&at| is_meant(&groups[at].id)).last()
        };
        let mut folded: Vec<Node> = Vec::with_capacity(nodes.len());
        let mut of_group: HashMap<usize, usize> = HashMap::new();
        let mut places = Vec::with_capacity(nodes.len());
        for node in nodes {
            let Some(group) = outermost(node.group) else {
                places.push(folded.len());
                folded.push(node);
                continue;
            };
            let place = *of_group.entry(group).or_insert(folded.len());
            if place == folded.len() {
                let (of, members) = (&groups[group], Vec::new());
                let (id, label, is_mapped) = (of.id.clone(), of.label.clone(), of.is_mapped);
                folded.push(Node { id, label, detail: String::new(), group: of.parent, is_mapped, members });
            }
            folded[place].members.push(node.id);
            places.push(place);
        }
        // Of several edges between two nodes, a strict one takes precedence.
        let mut wires: BTreeMap<(usize, usize), bool> = BTreeMap::new();
        for Edge { from, to, is_lenient } in edges {
            let (from, to) = (places[from], places[to]);
            if from != to {
                *wires.entry((to, from)).or_insert(true) &= is_lenient;
            }
        }
        let edges = wires.into_iter().map(|((to, from), is_lenient)| Edge { from, to, is_lenient }).collect();
        Graph { nodes: folded, edges, groups }
    }
}
