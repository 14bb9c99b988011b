-- Orders and revenue of each state that customers live in
-- key: customer_state
-- required: total_orders, total_revenue
-- warn revenue: total_revenue >= 0
SELECT c.customer_state,
       CAST(sum(s.total_orders) AS BIGINT) AS total_orders,
       CAST(sum(s.total_revenue) AS DECIMAL(12, 2)) AS total_revenue
FROM sales_by_customer s
LEFT JOIN customer_dim c ON s.customer_id = c.customer_id
GROUP BY c.customer_state
