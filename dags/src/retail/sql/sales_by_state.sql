SELECT c.customer_state,
       count(DISTINCT f.order_id) AS total_orders,
       CAST(sum(f.order_item_subtotal) AS DECIMAL(12, 2)) AS total_revenue
FROM orders_fact f
LEFT JOIN customer_dim c ON f.customer_id = c.customer_id
GROUP BY c.customer_state
