-- Departments
-- key: department_id
-- required: department_id
-- expected: department_name
SELECT department_id, department_name
FROM departments
