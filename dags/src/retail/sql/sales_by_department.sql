-- Quantity and revenue of each department
-- key: department_id
-- required: total_quantity, total_revenue
-- warn revenue: total_revenue >= 0
SELECT c.department_id,
       c.department_name,
       CAST(sum(s.total_quantity) AS BIGINT) AS total_quantity,
       CAST(sum(s.total_revenue) AS DECIMAL(12, 2)) AS total_revenue
FROM sales_by_category s
LEFT JOIN category_dim c ON s.category_id = c.category_id
GROUP BY c.department_id, c.department_name
