//! Dynamic maps: the number of elements is determined during the run, not when the DAG is written.

use orch::prelude::*;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct File {
    name: String,
    bytes: u64,
}

/// Lists what is there today.
#[task]
async fn list_files() -> TaskResult<Vec<File>> {
    let file = |name: &str, bytes| File { name: name.into(), bytes };
    Ok(vec![file("monday.csv", 1200), file("tuesday.csv", 0), file("wednesday.csv", 3400)])
}

/// Runs once for each file. An element can be skipped by itself.
#[task(retries = 2, retry_delay = secs(5))]
async fn count_rows(ctx: Ctx, file: File) -> TaskResult<u64> {
    ensure!(file.name.contains('.'), "`{}` is no file", file.name);
    if file.bytes == 0 {
        return Err(skip(format!("{} is empty", file.name)));
    }
    ctx.progress(file.bytes / 100, file.bytes);
    Ok(file.bytes / 100)
}

/// Over a mapped task, element by element: it starts as soon as its own count is there.
#[task]
async fn price(rows: u64) -> TaskResult<u64> {
    Ok(rows * 3)
}

/// An element that was skipped is `None`; the others keep their places.
#[task(trigger_rule = AllDone)]
async fn total(rows: Vec<Option<u64>>, prices: Vec<Option<u64>>) -> TaskResult<String> {
    let sum = |list: &[Option<u64>]| list.iter().flatten().sum::<u64>();
    Ok(format!("{} rows in {} files cost {}", sum(&rows), rows.iter().flatten().count(), sum(&prices)))
}

/// Runs for each combination.
#[task(max_active = 4)]
async fn render(format: String, size: u32) -> TaskResult<String> {
    Ok(format!("{format}@{size}"))
}

pub(crate) fn example_map() -> Dag {
    dag("example_map").describe("A task for each element of a list that another task gives").tags(["example"]).build(
        |d| {
            let files = d.add(list_files());
            let rows = d.map(files, |file| count_rows(file).max_active(2));
            let prices = d.map(rows, price);
            let total = d.add(total(rows, prices));
            d.map(cross(["png", "svg"], [1u32, 2, 4]), |(format, size)| render(format, size).after(total));
        },
    )
}

/// Unpacks one file.
#[task]
async fn unpack(file: File) -> TaskResult<String> {
    Ok(file.name.replace(".csv", ".rows"))
}

/// Takes the output of the same element.
#[task]
async fn check(file: File, unpacked: String) -> TaskResult<bool> {
    Ok(file.bytes > 0 && !unpacked.is_empty())
}

/// Skips its own element only.
#[task]
async fn publish(unpacked: String) -> TaskResult<String> {
    Ok(format!("published {unpacked}"))
}

#[task(trigger_rule = AllDone)]
async fn count_published(published: Vec<Option<String>>) -> TaskResult<usize> {
    Ok(published.iter().flatten().count())
}

pub(crate) fn example_mapped_group() -> Dag {
    let per_file = group("per_file").doc("What happens to one file").retries(1);
    dag("example_mapped_group").describe("Several tasks for each element of a list").tags(["example"]).build(|d| {
        let published = d.map_group(per_file, d.add(list_files()), |g, file| {
            let unpacked = g.add(unpack(file));
            let good = g.add(check(file, unpacked));
            g.add(publish(unpacked).when(good, true))
        });
        d.add(count_published(published));
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use orch::TaskState::{Failed, Skipped, Success};

    #[tokio::test]
    async fn the_empty_file_is_left_out_and_keeps_its_place() {
        let run = example_map().test().run().await;
        assert_eq!(run.output::<Vec<Option<u64>>>("count_rows"), Some(vec![Some(12), None, Some(34)]));
        assert_eq!(run.output::<Vec<Option<u64>>>("price"), Some(vec![Some(36), None, Some(102)]));
        assert_eq!(run.output::<String>("total").as_deref(), Some("46 rows in 2 files cost 138"));
        assert_eq!(run.output::<Vec<String>>("render").map(|list| list.len()), Some(6));
    }

    #[tokio::test]
    async fn no_files_are_no_failure() {
        let run = example_map().test().with("list_files", Vec::<File>::new()).run().await;
        assert_eq!(["count_rows", "price", "total"].map(|id| run.state(id)), [Skipped, Skipped, Success]);
        let wrong = File { name: "folder".into(), bytes: 1 };
        let run = example_map().test().with("list_files", vec![wrong]).run().await;
        assert_eq!(run.state("count_rows"), Failed);
        assert_eq!(run.errors, ["count_rows: `folder` is no file"]);
    }

    #[tokio::test]
    async fn a_group_runs_for_each_file() {
        let run = example_mapped_group().test().run().await;
        assert_eq!(run.output::<Vec<bool>>("per_file.check"), Some(vec![true, false, true]));
        assert_eq!(run.output::<usize>("count_published"), Some(2));
    }
}
