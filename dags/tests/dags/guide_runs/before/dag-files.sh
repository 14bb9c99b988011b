mkdir srv-dags
