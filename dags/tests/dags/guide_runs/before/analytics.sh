after() {
    cancel_backfills nyc_weather_etl
}
