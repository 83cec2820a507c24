"""People, companies, memberships, account kits, tenant users and API keys."""

import accounts.ids
import django.db.models.deletion
import django.db.models.functions.text
import django.utils.timezone
from decimal import Decimal
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('auth', '0012_alter_user_first_name_max_length'),
    ]

    operations = [
        migrations.CreateModel(
            name='User',
            fields=[
                ('password', models.CharField(max_length=128, verbose_name='password')),
                ('last_login', models.DateTimeField(blank=True, null=True, verbose_name='last login')),
                ('is_superuser', models.BooleanField(default=False, help_text='Designates that this user has all permissions without explicitly assigning them.', verbose_name='superuser status')),
                ('id', models.UUIDField(default=accounts.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('email', models.EmailField(max_length=254)),
                ('name', models.CharField(blank=True, max_length=200)),
                ('is_staff', models.BooleanField(default=False)),
                ('is_active', models.BooleanField(default=True)),
                ('email_verified_at', models.DateTimeField(blank=True, null=True)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('groups', models.ManyToManyField(blank=True, help_text='The groups this user belongs to. A user will get all permissions granted to each of their groups.', related_name='user_set', related_query_name='user', to='auth.group', verbose_name='groups')),
                ('user_permissions', models.ManyToManyField(blank=True, help_text='Specific permissions for this user.', related_name='user_set', related_query_name='user', to='auth.permission', verbose_name='user permissions')),
            ],
            options={
                'db_table': 'accounts_user',
            },
        ),
        migrations.CreateModel(
            name='Company',
            fields=[
                ('id', models.UUIDField(default=accounts.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('name', models.CharField(max_length=200)),
                ('slug', models.SlugField(max_length=60, unique=True)),
                ('status', models.CharField(choices=[('active', 'Active'), ('suspended', 'Suspended'), ('closed', 'Closed')], default='active', max_length=16)),
                ('markup', models.DecimalField(blank=True, decimal_places=4, max_digits=8, null=True)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
            ],
            options={
                'verbose_name_plural': 'companies',
                'db_table': 'accounts_company',
                'constraints': [models.CheckConstraint(condition=models.Q(('status__in', ['active', 'suspended', 'closed'])), name='accounts_company_status'), models.CheckConstraint(condition=models.Q(('markup__gt', 0), ('markup__lte', Decimal('100'))), name='accounts_company_markup', violation_error_message='The markup must be above 0 and at most 100.')],
            },
        ),
        migrations.CreateModel(
            name='AccountKit',
            fields=[
                ('id', models.UUIDField(default=accounts.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('name', models.CharField(max_length=200)),
                ('description', models.TextField(blank=True)),
                ('is_default', models.BooleanField(default=False)),
                ('primitives_config', models.JSONField(blank=True, default=dict)),
                ('connections_config', models.JSONField(blank=True, default=dict)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('company', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='account_kits', to='accounts.company')),
            ],
            options={
                'db_table': 'accounts_accountkit',
            },
        ),
        migrations.CreateModel(
            name='Membership',
            fields=[
                ('id', models.UUIDField(default=accounts.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('role', models.CharField(choices=[('owner', 'Owner'), ('admin', 'Admin'), ('member', 'Member'), ('viewer', 'Viewer')], max_length=16)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('company', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='memberships', to='accounts.company')),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='memberships', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'db_table': 'accounts_membership',
            },
        ),
        migrations.CreateModel(
            name='TenantUser',
            fields=[
                ('id', models.UUIDField(default=accounts.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('external_id', models.CharField(blank=True, max_length=255, null=True)),
                ('email', models.EmailField(blank=True, max_length=254)),
                ('label', models.CharField(blank=True, max_length=200)),
                ('status', models.CharField(choices=[('active', 'Active'), ('suspended', 'Suspended'), ('deleted', 'Deleted')], default='active', max_length=16)),
                ('is_default', models.BooleanField(default=False)),
                ('metadata', models.JSONField(blank=True, default=dict)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('last_active_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('account_kit', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='tenant_users', to='accounts.accountkit')),
                ('company', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='tenant_users', to='accounts.company')),
            ],
            options={
                'db_table': 'accounts_tenantuser',
            },
        ),
        migrations.CreateModel(
            name='APIKey',
            fields=[
                ('id', models.UUIDField(default=accounts.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('family_id', models.UUIDField(default=accounts.ids.uuid7, editable=False)),
                ('name', models.CharField(max_length=200)),
                ('role', models.CharField(choices=[('owner', 'Owner'), ('admin', 'Admin'), ('member', 'Member'), ('viewer', 'Viewer')], max_length=16)),
                ('digest', models.BinaryField(max_length=32, unique=True)),
                ('last_4', models.CharField(max_length=4)),
                ('cap_credits', models.DecimalField(blank=True, decimal_places=9, max_digits=19, null=True)),
                ('cap_period', models.CharField(blank=True, choices=[('day', 'Day'), ('week', 'Week'), ('month', 'Month'), ('total', 'Total')], max_length=8)),
                ('expires_at', models.DateTimeField(blank=True, null=True)),
                ('revoked_at', models.DateTimeField(blank=True, null=True)),
                ('last_used_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('account_kit', models.ForeignKey(blank=True, db_constraint=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='api_keys', to='accounts.accountkit')),
                ('created_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='api_keys', to=settings.AUTH_USER_MODEL)),
                ('rotated_from', models.OneToOneField(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='successor', to='accounts.apikey')),
                ('company', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='api_keys', to='accounts.company')),
                ('active_tenant_user', models.ForeignKey(blank=True, db_constraint=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='sealed_keys', to='accounts.tenantuser')),
            ],
            options={
                'verbose_name': 'API key',
                'db_table': 'accounts_apikey',
            },
        ),
        migrations.AddConstraint(
            model_name='user',
            constraint=models.UniqueConstraint(django.db.models.functions.text.Lower('email'), name='accounts_user_email'),
        ),
        migrations.AddConstraint(
            model_name='accountkit',
            constraint=models.UniqueConstraint(fields=('company', 'name'), name='accounts_accountkit_name'),
        ),
        migrations.AddConstraint(
            model_name='accountkit',
            constraint=models.UniqueConstraint(condition=models.Q(('is_default', True)), fields=('company',), name='accounts_accountkit_one_default'),
        ),
        migrations.AddConstraint(
            model_name='accountkit',
            constraint=models.UniqueConstraint(fields=('company', 'id'), name='accounts_accountkit_of_company'),
        ),
        migrations.AddConstraint(
            model_name='membership',
            constraint=models.UniqueConstraint(fields=('company', 'user'), name='accounts_membership_once'),
        ),
        migrations.AddConstraint(
            model_name='membership',
            constraint=models.CheckConstraint(condition=models.Q(('role__in', ['owner', 'admin', 'member', 'viewer'])), name='accounts_membership_role'),
        ),
        migrations.AddConstraint(
            model_name='tenantuser',
            constraint=models.UniqueConstraint(fields=('company', 'external_id'), name='accounts_tenantuser_external_id'),
        ),
        migrations.AddConstraint(
            model_name='tenantuser',
            constraint=models.UniqueConstraint(condition=models.Q(('is_default', True)), fields=('company',), name='accounts_tenantuser_one_default'),
        ),
        migrations.AddConstraint(
            model_name='tenantuser',
            constraint=models.UniqueConstraint(fields=('company', 'id'), name='accounts_tenantuser_of_company'),
        ),
        migrations.AddConstraint(
            model_name='tenantuser',
            constraint=models.CheckConstraint(condition=models.Q(('status__in', ['active', 'suspended', 'deleted'])), name='accounts_tenantuser_status'),
        ),
        migrations.AddConstraint(
            model_name='tenantuser',
            constraint=models.CheckConstraint(condition=models.Q(('is_default', False), models.Q(('status', 'deleted'), _negated=True), _connector='OR'), name='accounts_tenantuser_default_stays'),
        ),
        migrations.AddConstraint(
            model_name='tenantuser',
            constraint=models.CheckConstraint(condition=models.Q(('external_id', ''), _negated=True), name='accounts_tenantuser_external_id_not_empty'),
        ),
        migrations.AddIndex(
            model_name='apikey',
            index=models.Index(fields=['company', 'family_id'], name='accounts_apikey_family'),
        ),
        migrations.AddConstraint(
            model_name='apikey',
            constraint=models.CheckConstraint(condition=models.Q(('role__in', ['owner', 'admin', 'member', 'viewer'])), name='accounts_apikey_role'),
        ),
        migrations.AddConstraint(
            model_name='apikey',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('cap_credits', None), ('cap_period', '')), models.Q(('cap_credits__gte', 0), ('cap_credits__isnull', False), ('cap_credits__lte', Decimal('1000000000')), ('cap_period__in', ['day', 'week', 'month', 'total'])), _connector='OR'), name='accounts_apikey_cap'),
        ),
    ]
