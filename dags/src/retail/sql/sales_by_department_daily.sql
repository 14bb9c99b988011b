-- Quantity, revenue and orders of each department on each day
-- key: date, department_id
-- required: date, total_quantity, total_revenue, total_orders
-- warn revenue: total_revenue >= 0
SELECT s.date, s.department_id, d.department_name, s.total_quantity, s.total_revenue, s.total_orders
FROM (SELECT CAST(f.order_date AS DATE) AS date,
             c.department_id,
             CAST(sum(f.order_item_quantity) AS BIGINT) AS total_quantity,
             CAST(sum(f.order_item_subtotal) AS DECIMAL(12, 2)) AS total_revenue,
             count(DISTINCT f.order_id) AS total_orders
      FROM orders_fact f
      LEFT JOIN product_dim p ON f.product_id = p.product_id
      LEFT JOIN category_dim c ON p.category_id = c.category_id
      GROUP BY CAST(f.order_date AS DATE), c.department_id) s
LEFT JOIN department_dim d ON s.department_id = d.department_id
