TOKEN=$(token)
# README.md runs the pipeline.
until_ok "$BINARY" sql 'select 1 from retail.sales_by_department_daily limit 1'
