-- Products with their categories, where there is one
-- key: product_id
-- required: product_id
-- expected: product_name, product_price
-- warn price: product_price >= 0
SELECT p.product_id, p.product_name, c.category_id, c.category_name, p.product_price
FROM products p
LEFT JOIN category_dim c ON p.product_category_id = c.category_id
