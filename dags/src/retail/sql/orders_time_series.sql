SELECT CAST(order_date AS DATE) AS date,
       count(DISTINCT order_id) AS total_orders,
       CAST(sum(order_item_subtotal) AS DECIMAL(12, 2)) AS total_revenue
FROM orders_fact
GROUP BY CAST(order_date AS DATE)
