-- Orders and revenue of each state that customers live in
-- key: customer_state
-- required: total_orders, total_revenue
-- warn revenue: total_revenue >= 0
SELECT c.customer_state,
       count(DISTINCT f.order_id) AS total_orders,
       CAST(sum(f.order_item_subtotal) AS DECIMAL(12, 2)) AS total_revenue
FROM orders_fact f
LEFT JOIN customer_dim c ON f.customer_id = c.customer_id
GROUP BY c.customer_state
