-- Which branch a run was decided for, and which one a pull request goes to: a proposal judged against one base says nothing
-- about another. Only adds, so the previous release works beside it; its runs have no base and count for none.
ALTER TABLE run ADD COLUMN base_ref TEXT;
ALTER TABLE change ADD COLUMN base_ref TEXT;
