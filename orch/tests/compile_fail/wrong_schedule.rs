use orch::prelude::*;

#[derive(Serialize, Deserialize)]
struct RawFile { path: String }
#[derive(Serialize, Deserialize)]
struct TableRef { name: String }

#[task]
async fn extract(table: String) -> TaskResult<RawFile> { Ok(RawFile { path: table }) }
#[task]
async fn gold(raw: RawFile, dims: Vec<TableRef>) -> TaskResult<TableRef> { let _ = (raw, dims); todo!() }
#[task]
async fn dim(raw: RawFile) -> TaskResult<TableRef> { let _ = raw; todo!() }

fn main() {
    dag("retail").schedule(mins(5)).build(|d| {
        d.add(extract("orders"));
    });
}
