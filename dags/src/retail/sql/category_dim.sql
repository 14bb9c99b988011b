-- Categories with their departments, where there is one
-- key: category_id
-- required: category_id
-- expected: category_name
SELECT c.category_id, c.category_name, d.department_id, d.department_name
FROM categories c
LEFT JOIN department_dim d ON c.category_department_id = d.department_id
