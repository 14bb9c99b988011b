-- Orders and revenue of each customer who ordered
-- key: customer_id
-- required: customer_id, total_orders, total_revenue
-- warn revenue: total_revenue >= 0
SELECT s.customer_id, c.customer_fname, c.customer_lname, s.total_orders, s.total_revenue
FROM (SELECT customer_id,
             count(DISTINCT order_id) AS total_orders,
             CAST(sum(order_item_subtotal) AS DECIMAL(12, 2)) AS total_revenue
      FROM orders_fact
      GROUP BY customer_id) s
LEFT JOIN customer_dim c ON s.customer_id = c.customer_id
