-- What COPY has filled, with the keys that a day's query needs. The index holds all that it
-- reads of a user's experiments: with it a day's query took two thirds of the time.
ALTER TABLE staged_users ADD PRIMARY KEY (user_id);
ALTER TABLE staged_compounds ADD PRIMARY KEY (compound_id);
ALTER TABLE staged_experiments ADD PRIMARY KEY (experiment_id);
CREATE INDEX staged_experiments_user_id_idx ON staged_experiments (user_id) INCLUDE (compound_ids, run_time);
