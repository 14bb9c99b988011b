-- Quantity and revenue of each category
-- key: category_id
-- required: total_quantity, total_revenue
-- warn revenue: total_revenue >= 0
SELECT c.category_id,
       c.category_name,
       CAST(sum(s.total_quantity) AS BIGINT) AS total_quantity,
       CAST(sum(s.total_revenue) AS DECIMAL(12, 2)) AS total_revenue
FROM sales_by_product s
LEFT JOIN product_dim p ON s.product_id = p.product_id
LEFT JOIN category_dim c ON p.category_id = c.category_id
GROUP BY c.category_id, c.category_name
