-- Quantity and revenue of each category
-- key: category_id
-- required: total_quantity, total_revenue
-- warn revenue: total_revenue >= 0
SELECT c.category_id,
       c.category_name,
       CAST(sum(f.order_item_quantity) AS BIGINT) AS total_quantity,
       CAST(sum(f.order_item_subtotal) AS DECIMAL(12, 2)) AS total_revenue
FROM orders_fact f
LEFT JOIN product_dim p ON f.product_id = p.product_id
LEFT JOIN category_dim c ON p.category_id = c.category_id
GROUP BY c.category_id, c.category_name
