-- Orders and revenue of each customer who ordered
-- key: customer_id
-- required: customer_id, total_orders, total_revenue
-- warn revenue: total_revenue >= 0
SELECT f.customer_id,
       c.customer_fname,
       c.customer_lname,
       count(DISTINCT f.order_id) AS total_orders,
       CAST(sum(f.order_item_subtotal) AS DECIMAL(12, 2)) AS total_revenue
FROM orders_fact f
LEFT JOIN customer_dim c ON f.customer_id = c.customer_id
GROUP BY f.customer_id, c.customer_fname, c.customer_lname
