-- Orders and revenue of each day
-- key: date
-- required: date, total_orders, total_revenue
-- warn revenue: total_revenue >= 0
SELECT CAST(order_date AS DATE) AS date,
       count(DISTINCT order_id) AS total_orders,
       CAST(sum(order_item_subtotal) AS DECIMAL(12, 2)) AS total_revenue
FROM orders_fact
GROUP BY CAST(order_date AS DATE)
