after() {
    cancel_backfills retail_medallion
}
