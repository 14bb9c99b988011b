//! Limits the depth and size of a query before any recursive code processes it.
//!
//! The parser, the planner, the optimizer and the destructors of syntax trees recurse once per operator in a chain,
//! and a common table expression is planned again at each reference. A query text of 16 kB could cause unlimited
//! depth and size. Chains are therefore measured on the tokens, before a tree is built. The planning threads
//! (`view.rs`) have a stack that is large enough for the deepest query that passes these checks.

use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, ObjectName, Query, Select, SetExpr, Statement, TableFactor, Visit as _, Visitor,
};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::Token;
use orch_store::lake_view::{LakeError, LakeResult};
use std::collections::HashMap;
use std::ops::ControlFlow;

/// Maximum number of operators in one chain, including operators in its brackets. It allows about 200 conditions of
/// the form `a = 1 or …`, and fewer if a column is named like a keyword. Planning time is quadratic in this number.
const MOST_OPERATORS: usize = 400;
/// Maximum number of `union`, `intersect`, `except` and `join` operators in a query.
const MOST_STEPS: usize = 200;
/// Maximum number of tables and `select`s after common table expressions are inlined. The schema of each join
/// contains the columns of all tables before it: 250 tables with 100 columns need 3 million entries.
const MOST_RELATIONS: usize = 250;
/// Maximum number of columns in one `select`. The planner compares all pairs of columns.
pub(crate) const MOST_COLUMNS: usize = 1_000;
/// Maximum number of `*` in one `select`.
const MOST_WILDCARDS: usize = 16;
/// Maximum total number of grouping sets that `cube`, `rollup` and `grouping sets` produce.
const MOST_GROUPING_SETS: usize = 256;

fn too_big(what: &str, hint: &str) -> LakeError {
    LakeError::Refused(format!("the query has {what}\nhint: {hint}"))
}

/// Rejects queries whose syntax tree would be too deep.
pub(crate) fn check_depth(tokens: &[Token]) -> LakeResult<()> {
    let tokens: Vec<&Token> = tokens.iter().filter(|token| !matches!(token, Token::Whitespace(_))).collect();
    let mut levels = vec![Level::default()];
    let mut steps = 0;
    for (place, token) in tokens.iter().enumerate() {
        let before = place.checked_sub(1).map(|before| tokens[before]);
        let is_clause = clause(token) && before.is_some_and(is_operand);
        steps += usize::from(is_step(token));
        match token {
            Token::LParen | Token::LBracket | Token::LBrace => levels.push(Level::default()),
            Token::RParen | Token::RBracket | Token::RBrace if levels.len() > 1 => {
                let inner = levels.pop().map_or(0, |level| level.depth());
                if let Some(level) = levels.last_mut() {
                    // Consecutive calls and subscripts count as operators because they nest in the syntax tree.
                    level.operators += 1;
                    level.inside = level.inside.max(inner);
                }
            }
            Token::Comma | Token::SemiColon => levels.last_mut().into_iter().for_each(Level::end_item),
            _ if is_clause => levels.last_mut().into_iter().for_each(Level::end_item),
            token if is_plain(token) => {}
            _ => levels.last_mut().into_iter().for_each(|level| level.operators += 1),
        }
    }
    let depth: usize = levels.iter().map(|level| level.depth() + 1).sum();
    if depth > MOST_OPERATORS {
        let what = format!("a chain of more than {MOST_OPERATORS} operators");
        return Err(too_big(&what, "write `x in (…)` for a row of `or`, or put the values into a `values` list"));
    }
    if steps > MOST_STEPS {
        let what = format!("more than {MOST_STEPS} joins and set operations");
        return Err(too_big(&what, "ask for less at once, or put constants into a `values` list"));
    }
    Ok(())
}

/// The tokens between a pair of brackets. They consist of items separated by commas or clauses; items are not nested
/// in each other.
#[derive(Default)]
struct Level {
    /// Operator count of the current item, and depth of the deepest bracket inside it.
    operators: usize,
    inside: usize,
    /// Maximum depth of the items before the current one.
    deepest: usize,
}

impl Level {
    fn depth(&self) -> usize {
        self.deepest.max(self.operators + self.inside)
    }

    fn end_item(&mut self) {
        self.deepest = self.depth();
        (self.operators, self.inside) = (0, 0);
    }
}

/// Returns true for tokens that add no depth to the tree: names, literals and periods. Keywords are excluded because
/// many of them are operators.
fn is_plain(token: &Token) -> bool {
    match token {
        Token::Word(word) => word.keyword == Keyword::NoKeyword,
        Token::Period | Token::Placeholder(_) | Token::EOF => true,
        token => is_literal(token),
    }
}

fn is_literal(token: &Token) -> bool {
    matches!(
        token,
        Token::Number(..)
            | Token::Char(_)
            | Token::SingleQuotedString(_)
            | Token::DoubleQuotedString(_)
            | Token::DollarQuotedString(_)
            | Token::NationalStringLiteral(_)
            | Token::EscapedStringLiteral(_)
            | Token::HexStringLiteral(_)
    )
}

/// Returns true for tokens that can end an expression. A clause keyword after any other token is an identifier, as in
/// `union + union`.
fn is_operand(token: &Token) -> bool {
    match token {
        Token::Word(word) => {
            let ends = [Keyword::NoKeyword, Keyword::NULL, Keyword::TRUE, Keyword::FALSE, Keyword::END];
            ends.contains(&word.keyword) || [Keyword::ASC, Keyword::DESC].contains(&word.keyword)
        }
        Token::RParen | Token::RBracket => true,
        token => is_literal(token),
    }
}

fn clause(token: &Token) -> bool {
    const CLAUSES: [Keyword; 8] = [
        Keyword::WHERE,
        Keyword::GROUP,
        Keyword::HAVING,
        Keyword::ORDER,
        Keyword::LIMIT,
        Keyword::UNION,
        Keyword::INTERSECT,
        Keyword::EXCEPT,
    ];
    matches!(token, Token::Word(word) if CLAUSES.contains(&word.keyword))
}

fn is_step(token: &Token) -> bool {
    const STEPS: [Keyword; 6] =
        [Keyword::UNION, Keyword::INTERSECT, Keyword::EXCEPT, Keyword::MINUS, Keyword::JOIN, Keyword::APPLY];
    matches!(token, Token::Word(word) if STEPS.contains(&word.keyword))
}

/// Rejects queries whose plan would be too large.
pub(crate) fn check_size(statement: &Statement) -> LakeResult<()> {
    match statement.visit(&mut Sizes::default()) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

/// Size counters of the nested queries being visited, outermost first.
#[derive(Default)]
struct Sizes(Vec<OpenQuery>);

#[derive(Default)]
struct OpenQuery {
    relations: usize,
    /// Names of the common table expressions whose queries have not been visited yet, in reverse order.
    to_come: Vec<String>,
    known: HashMap<String, usize>,
}

impl Visitor for Sizes {
    type Break = LakeError;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<LakeError> {
        let names = query.with.iter().flat_map(|with| &with.cte_tables);
        let to_come = names.rev().map(|cte| cte.alias.name.value.to_lowercase()).collect();
        let mut selects = Vec::new();
        selects_of(&query.body, &mut selects);
        for select in &selects {
            if let Err(error) = check_select(select) {
                return ControlFlow::Break(error);
            }
        }
        self.0.push(OpenQuery { relations: selects.len().max(1), to_come, known: HashMap::new() });
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<LakeError> {
        let Some(done) = self.0.pop() else { return ControlFlow::Continue(()) };
        if let Some(around) = self.0.last_mut() {
            match around.to_come.pop() {
                Some(name) => drop(around.known.insert(name, done.relations)),
                None => around.relations = around.relations.saturating_add(done.relations),
            }
        }
        if done.relations > MOST_RELATIONS {
            let what = format!("more than {MOST_RELATIONS} tables and queries in all");
            let hint = "a common table expression counts again each time it is named: ask for less at once";
            return ControlFlow::Break(too_big(&what, hint));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, name: &ObjectName) -> ControlFlow<LakeError> {
        let name = name.to_string().to_lowercase();
        let name = name.trim_matches('"');
        let known = self.0.iter().rev().find_map(|open| open.known.get(name)).copied().unwrap_or(1);
        if let Some(open) = self.0.last_mut() {
            open.relations = open.relations.saturating_add(known);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<LakeError> {
        // Table functions and lists used as tables have no relation name, so the visitor does not report them as
        // relations.
        if let (false, Some(open)) = (matches!(factor, TableFactor::Table { .. }), self.0.last_mut()) {
            open.relations = open.relations.saturating_add(1);
        }
        ControlFlow::Continue(())
    }
}

/// Collects the `select`s of a query body. The recursion depth is limited by `MOST_STEPS`, which was checked before.
fn selects_of<'a>(body: &'a SetExpr, found: &mut Vec<&'a Select>) {
    match body {
        SetExpr::Select(select) => found.push(select),
        SetExpr::SetOperation { left, right, .. } => {
            selects_of(left, found);
            selects_of(right, found);
        }
        _ => {}
    }
}

fn check_select(select: &Select) -> LakeResult<()> {
    use datafusion::sql::sqlparser::ast::SelectItem::{QualifiedWildcard, Wildcard};
    if select.projection.len() > MOST_COLUMNS {
        return Err(too_big(&format!("a `select` of more than {MOST_COLUMNS} columns"), "select fewer"));
    }
    let wildcards = select.projection.iter().filter(|item| matches!(item, Wildcard(_) | QualifiedWildcard(..)));
    if wildcards.count() > MOST_WILDCARDS {
        return Err(too_big(&format!("a `select` of more than {MOST_WILDCARDS} `*`"), "name the columns"));
    }
    let GroupByExpr::Expressions(keys, _) = &select.group_by else { return Ok(()) };
    let sets = keys.iter().map(grouping_sets).fold(1, usize::saturating_mul);
    if sets > MOST_GROUPING_SETS {
        let what = format!("more than {MOST_GROUPING_SETS} grouping sets");
        return Err(too_big(&what, "name the sets that are wanted with `grouping sets`"));
    }
    Ok(())
}

fn grouping_sets(key: &Expr) -> usize {
    match key {
        Expr::Cube(keys) => 1_usize.checked_shl(u32::try_from(keys.len()).unwrap_or(u32::MAX)).unwrap_or(usize::MAX),
        Expr::Rollup(keys) => keys.len() + 1,
        Expr::GroupingSets(sets) => sets.len(),
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use crate::parse::parse_alone as parse;

    fn chain(first: &str, next: &str, times: usize) -> String {
        format!("{first}{}", next.repeat(times))
    }

    #[test]
    fn long_chains_of_every_kind_are_refused_before_there_is_a_tree() {
        for (first, next) in [
            ("select 1", "+1"),
            ("select 1", " - - 1"),
            ("select 'a'", "||'a'"),
            ("select true", " or true"),
            ("select true", " is null"),
            ("select 1", " is distinct from 1"),
            ("select 1", "::int"),
            ("select x", "[1]"),
            ("select 1", " union all select 1"),
            ("select 1", " except select 1"),
            ("select 1 from t", " join t on true"),
            ("select 1 from t", " natural join t"),
            ("select union", " + union"),
            ("select order", " and order"),
            ("select case", " when 1 then 1"),
        ] {
            let error = parse(&chain(first, next, 2_000)).expect_err(next).to_string();
            assert!(error.contains("more than") && error.contains("\nhint: "), "{next}: {error}");
        }
    }

    #[test]
    fn brackets_add_what_is_inside_of_them() {
        let part = chain("1", "+1", 30);
        let nested = (0..20).fold(part.clone(), |inner, _| format!("({inner}){}", "+1".repeat(30)));
        let error = parse(&format!("select {nested}")).expect_err("600 deep").to_string();
        assert!(error.contains("operators"), "{error}");
        let beside = vec![part; 100].join(", ");
        assert!(parse(&format!("select {beside}")).is_ok());
    }

    #[test]
    fn long_lists_and_usual_queries_are_let_through() {
        let list = vec!["-1"; 5_000].join(", ");
        let columns = (0..500).map(|at| format!("a + {at} as c{at}")).collect::<Vec<_>>().join(", ");
        for sql in [
            format!("select 1 from t where x in ({list})"),
            format!("select {columns} from t where a > 1 group by b order by c"),
            format!("values {}", vec!["(1, -2, 'a')"; 2_000].join(", ")),
            chain("select 1 from t where x = 1", " or x = 1", 190),
            chain("select 1", " union all select 1", 150),
            "with a as (select 1), b as (select * from a, a x) select * from b, b y".into(),
            "select 1 from t group by cube (a, b, c), rollup (d, e)".into(),
        ] {
            on_a_deep_stack(move || assert!(parse(&sql).is_ok(), "{:.60}: {:?}", sql, parse(&sql).err()));
        }
    }

    /// Runs a test on a thread with the same stack size as the planning threads (`view.rs`).
    fn on_a_deep_stack(check: impl FnOnce() + Send + 'static) {
        let thread = std::thread::Builder::new().stack_size(256 << 20).spawn(check).expect("a thread can be started");
        thread.join().expect("it is let through");
    }

    #[test]
    fn small_texts_that_ask_for_large_plans_are_refused() {
        let doubled = (1..40).map(|at| format!(", c{at} as (select a.* from c{0} a, c{0} b)", at - 1));
        for (sql, word) in [
            (format!("with c0 as (select 1 x){} select 1 from c39", doubled.collect::<String>()), "tables and queries"),
            (format!("select 1 from {}", vec!["t"; 300].join(", ")), "tables and queries"),
            (format!("select {} from t", vec!["*"; 100].join(", ")), "`*`"),
            (format!("select {} from t", vec!["1"; 1_001].join(", ")), "columns"),
            (format!("select 1 from t group by cube ({})", ["a"; 9].join(", ")), "grouping sets"),
            (chain("select 1 from t group by rollup (a, b, c)", ", rollup (a, b, c)", 5), "grouping sets"),
        ] {
            let error = parse(&sql).expect_err(word).to_string();
            assert!(error.contains(word) && error.contains("\nhint: "), "{error}");
        }
    }
}
