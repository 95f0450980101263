-- +goose Up
-- PostgreSQL plans with the values at hand, so that it does use the index of
-- middle names; and two names together may be longer than an index takes.
SELECT 1;

-- +goose Down
SELECT 1;
