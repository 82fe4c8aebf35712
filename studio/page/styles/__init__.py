"""The styles as small pictures to pick from, on every tab that asks for one."""
